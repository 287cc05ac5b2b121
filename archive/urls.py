"""Routes of the ground floor, by screen. A test lists each with who may use it."""

from django.urls import path

from archive.views import door, files, item, library

urlpatterns = [
    # the door
    path("signin/", door.signin, name="signin"),
    path("signin/once/<str:token>", door.link, name="signin-link"),
    path("signout/", door.signout, name="signout"),
    path("preferences/", door.preferences, name="preferences"),
    # finding
    path("search/", library.search, name="search"),
    path("cases/<str:code>/library/", library.library, name="library"),
    path("cases/<str:code>/library/thumbnails", library.thumbnails, name="library-thumbnails"),
    # one item
    path("items/<uuid:item_id>/", item.item, name="item"),
    path("items/<uuid:item_id>/note", item.note, name="item-note"),
    path("items/<uuid:item_id>/tag", item.tag, name="item-tag"),
    path("items/<uuid:item_id>/untag", item.untag, name="item-untag"),
    path("items/<uuid:item_id>/assign", item.assign, name="item-assign"),
    path("items/<uuid:item_id>/unassign", item.unassign, name="item-unassign"),
    path("items/<uuid:item_id>/finding", item.finding, name="item-finding"),
    # its bytes
    path("items/<uuid:item_id>/reveal", files.reveal, name="item-reveal"),
    path("items/<uuid:item_id>/stream", files.stream, name="item-stream"),
    path("items/<uuid:item_id>/original", files.original, name="item-original"),
    path("renditions/<uuid:rendition_id>", files.rendition, name="rendition"),
]
