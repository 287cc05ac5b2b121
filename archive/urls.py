"""Routes of the ground floor, by screen. A test lists each with who may use it."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from archive.views import (
    account,
    accounts,
    api_docs,
    cases,
    custody,
    door,
    files,
    home,
    item,
    jobs,
    library,
    lists,
    retention,
    sharing,
    sources,
    system,
    upload,
)

urlpatterns = [
    # the door
    path("signin/", door.signin, name="signin"),
    path("signin/once/<str:token>", door.link, name="signin-link"),
    path("signout/", door.signout, name="signout"),
    path("preferences/", door.preferences, name="preferences"),
    path("account/", account.account, name="account"),
    # cases
    path("", home.home, name="home"),
    path("cases/", cases.listed, name="cases"),
    path("cases/new", cases.open_new, name="case-open"),
    path("cases/<str:code>/", cases.overview, name="case"),
    path("cases/<str:code>/edit", cases.edit, name="case-edit"),
    path("cases/<str:code>/people/", sharing.people, name="people"),
    path("cases/<str:code>/people/<uuid:person_id>/end", sharing.unshare, name="people-end"),
    path("cases/<str:code>/items.csv", lists.items, name="items-csv"),
    # holds and disposal
    path("cases/<str:code>/retention/", retention.retention, name="retention"),
    path("cases/<str:code>/retention/hold", retention.place, name="hold-place"),
    path("cases/<str:code>/retention/dispose", retention.ask, name="disposal-ask"),
    path(
        "cases/<str:code>/sources/<str:name>/identity/destroy",
        retention.ask_identity,
        name="identity-destroy",
    ),
    path("items/<uuid:item_id>/dispose", retention.ask_item, name="item-dispose"),
    path("holds/<uuid:hold_id>/lift", retention.lift, name="hold-lift"),
    path("disposals/<uuid:disposal_id>/", retention.one, name="disposal"),
    path(
        "disposals/<uuid:disposal_id>/approve", retention.answer, {"how": "approve"}, name="disposal-approve"
    ),
    path(
        "disposals/<uuid:disposal_id>/decline", retention.answer, {"how": "decline"}, name="disposal-decline"
    ),
    path(
        "disposals/<uuid:disposal_id>/withdraw",
        retention.answer,
        {"how": "withdraw"},
        name="disposal-withdraw",
    ),
    path("disposals/<uuid:disposal_id>/certificate", retention.show_certificate, name="disposal-certificate"),
    # bringing material in
    path("cases/<str:code>/add/", upload.page, name="upload"),
    path("cases/<str:code>/add/held", upload.held, name="upload-held"),
    path("cases/<str:code>/add/files/", upload.files, name="tus"),
    path("cases/<str:code>/add/files/<uuid:upload_id>", upload.file, name="tus-file"),
    path("cases/<str:code>/add/files/<uuid:upload_id>/discard", upload.discard, name="upload-discard"),
    # sources
    path("cases/<str:code>/sources/", sources.sources, name="sources"),
    path("cases/<str:code>/sources/new", sources.add, name="source-add"),
    path("cases/<str:code>/sources/<str:name>/", sources.source, name="source"),
    path("cases/<str:code>/sources/<str:name>/identity", sources.set_identity, name="source-identity"),
    path(
        "cases/<str:code>/sources/<str:name>/identity/see", sources.see_identity, name="source-identity-see"
    ),
    path("cases/<str:code>/sources/<str:name>/custody/", custody.source_custody, name="source-custody"),
    # custody and jobs
    path("cases/<str:code>/custody/", custody.case_custody, name="custody"),
    path("cases/<str:code>/custody/check", custody.check_case, name="custody-check"),
    path("items/<uuid:item_id>/custody/", custody.item_custody, name="item-custody"),
    path("items/<uuid:item_id>/custody/check", custody.check_item, name="item-custody-check"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("cases/<str:code>/jobs/", jobs.case_jobs, name="case-jobs"),
    path("jobs/<uuid:job_id>/retry", jobs.retry, name="job-retry"),
    # this archive and its people (administrators)
    path("system/", system.system, name="system"),
    path("system/publish", system.publish, name="system-publish"),
    path("system/verify", system.verify, name="system-verify"),
    path("people/", accounts.accounts, name="accounts"),
    path("people/new", accounts.add, name="account-add"),
    path("people/<uuid:person_id>/", accounts.person, name="account-of"),
    path("people/<uuid:person_id>/roles", accounts.roles, name="account-roles"),
    path("people/<uuid:person_id>/active", accounts.active, name="account-active"),
    path("people/<uuid:person_id>/link", accounts.link, name="account-link"),
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
    # for programs
    path("api/", include("archive.api")),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/docs/", api_docs.docs, name="api-docs"),
]
