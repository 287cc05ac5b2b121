"""Routes of triage."""

from django.urls import path

from triage.views import criteria, estimate, questions, queue, review, sample, second

urlpatterns = [
    path("cases/<str:code>/review/", queue.queue_page, name="review"),
    path("cases/<str:code>/review/undo", review.undo, name="review-undo"),
    path("cases/<str:code>/questions/", questions.questions_page, name="questions"),
    path("cases/<str:code>/questions/<int:number>/close", questions.close, name="question-close"),
    path("cases/<str:code>/criteria/", criteria.criteria, name="criteria"),
    path("cases/<str:code>/criteria/preview", criteria.look_ahead, name="criteria-preview"),
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
        "cases/<str:code>/doubtful/<int:number>/<uuid:item_id>/", second.doubtful_item, name="doubtful-item"
    path("review/<uuid:item_id>/", review.item, name="review-item"),
    path("review/<uuid:item_id>/decide", review.decide, name="review-decide"),
    path("review/<uuid:item_id>/postpone", review.postpone, name="review-postpone"),
]
