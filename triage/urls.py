"""Routes of triage."""

from django.urls import include, path

from triage.views import (
    alerts,
    criteria,
    estimate,
    near,
    phrases,
    questions,
    queue,
    review,
    sample,
    second,
    similar,
)

urlpatterns = [
    path("alerts/", alerts.listed, name="alerts"),
    path("alerts/destinations/", alerts.destinations, name="alert-destinations"),
    path(
        "alerts/destinations/<uuid:destination_id>/end", alerts.destination_end, name="alert-destination-end"
    ),
    path("alerts/<uuid:digest_id>/", alerts.digest, name="alert-digest"),
    path("alerts/<uuid:digest_id>/seen", alerts.seen, name="alert-seen"),
    path("alerts/subscriptions/<uuid:subscription_id>/end", alerts.end, name="alert-end"),
    path("cases/<str:code>/alerts/", alerts.of_case, name="alerts-of-case"),
    path("cases/<str:code>/review/", queue.queue_page, name="review"),
    path("cases/<str:code>/review/undo", review.undo, name="review-undo"),
    path("cases/<str:code>/questions/", questions.questions_page, name="questions"),
    path("cases/<str:code>/questions/<int:number>/close", questions.close, name="question-close"),
    path("cases/<str:code>/questions/<int:number>/picture", questions.give_picture, name="picture-give"),
    path("cases/<str:code>/questions/<int:number>/words", phrases.show, name="words-show"),
    path("cases/<str:code>/words/", phrases.ask, name="words"),
    path("cases/<str:code>/words/<uuid:phrase_id>/", phrases.found, name="words-found"),
    path("cases/<str:code>/words/<uuid:phrase_id>/state", phrases.state, name="words-state"),
    path("cases/<str:code>/examples/<int:example_id>/end", questions.end_picture, name="picture-end"),
    path(
        "cases/<str:code>/examples/<int:example_id>/<str:kind>",
        questions.small_picture,
        name="picture-small",
    ),
    path("cases/<str:code>/criteria/", criteria.criteria, name="criteria"),
    path("cases/<str:code>/criteria/preview", criteria.look_ahead, name="criteria-preview"),
    path("cases/<str:code>/criteria/queue", criteria.queue_settings, name="criteria-queue"),
    path("cases/<str:code>/criteria/<int:number>/again", criteria.again, name="criteria-again"),
    path("cases/<str:code>/estimate/", estimate.page, name="estimate"),
    path("cases/<str:code>/estimate/draw", estimate.draw, name="sample-draw"),
    path("samples/<uuid:draw_id>/", sample.sample, name="sample"),
    path("samples/<uuid:draw_id>/<uuid:item_id>/", sample.sample_item, name="sample-item"),
    path("cases/<str:code>/second/", second.second, name="second"),
    path("cases/<str:code>/second/share", second.set_share, name="second-share"),
    path("cases/<str:code>/second/<int:number>/<uuid:item_id>/", second.second_item, name="second-item"),
    path("second/<uuid:reading_id>/", second.settle, name="settle"),
    path("cases/<str:code>/doubtful/", second.doubts, name="doubtful"),
    path("cases/<str:code>/doubtful/search", second.search, name="doubtful-search"),
    path(
        "cases/<str:code>/doubtful/<int:number>/<uuid:item_id>/", second.doubtful_item, name="doubtful-item"
    ),
    path("items/<uuid:item_id>/similar/", similar.page, name="similar"),
    path("items/<uuid:item_id>/similar/ask", similar.ask, name="similar-ask"),
    path("items/<uuid:item_id>/similar/<uuid:part_id>", similar.state, name="similar-part-state"),
    path("api/", include("triage.api")),
    path("review/<uuid:item_id>/", review.item, name="review-item"),
    path("review/<uuid:item_id>/decide", review.decide, name="review-decide"),
    path("review/<uuid:item_id>/group", near.near_page, name="near"),
    path("review/<uuid:item_id>/group/decide", near.decide, name="near-decide"),
    path("review/<uuid:item_id>/group/undo", near.undo, name="near-undo"),
    path("review/<uuid:item_id>/postpone", review.postpone, name="review-postpone"),
    path("review/<uuid:item_id>/example", review.give_example, name="example-give"),
    path("review/<uuid:item_id>/example/<int:example_id>/end", review.end_example, name="example-end"),
]
