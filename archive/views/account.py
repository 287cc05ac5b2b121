"""My account: language, light or dark, password."""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from archive import people
from archive.custody import Actor
from archive.errors import BadInput
from archive.forms import OwnPasswordForm
from archive.models import User


@never_cache
@sensitive_post_parameters("old_password", "new_password1", "new_password2")
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """Who am I here, and a new password. Who signed in by link need not know an old one."""
    user = User.objects.get(pk=request.user.pk)
    ask_old = user.has_usable_password() and request.session.get("entered_by") != "link"
    form = OwnPasswordForm(user, request.POST or None, ask_old=ask_old)
    if request.method == "POST" and form.is_valid():
        try:
            people.set_password(
                person=user, password=form.cleaned_data["new_password1"], actor=Actor.of(request)
            )
        except BadInput as error:
            form.add_error("new_password1", error.sentence)
        else:
            update_session_auth_hash(request, user)
            request.session.pop("entered_by", None)
            messages.success(request, _("The new password is set. Other sessions of yours have ended."))
            return redirect("account")
    status = 422 if request.method == "POST" else 200
    return render(request, "archive/account.html", {"here": "account", "form": form}, status=status)
