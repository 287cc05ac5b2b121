"""Routes of triage."""

from django.urls import path

from triage.views import criteria, questions, review

urlpatterns = [
    path("cases/<str:code>/review/", review.queue_page, name="review"),
    path("cases/<str:code>/review/undo", review.undo, name="review-undo"),
    path("cases/<str:code>/questions/", questions.questions_page, name="questions"),
    path("cases/<str:code>/questions/<int:number>/close", questions.close, name="question-close"),
    path("cases/<str:code>/criteria/", criteria.criteria, name="criteria"),
    path("review/<uuid:item_id>/", review.item, name="review-item"),
    path("review/<uuid:item_id>/decide", review.decide, name="review-decide"),
    path("review/<uuid:item_id>/postpone", review.postpone, name="review-postpone"),
]
