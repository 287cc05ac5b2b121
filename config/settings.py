"""All configuration, read from the environment here and nowhere else.

Embedded defaults need no variable at all: SQLite, a local vault and a file broker under AMPARO_DATA.
Secrets are taken from NAME or from a file named in NAME_FILE. docs/install.md lists every variable.
"""

import ipaddress
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import dj_database_url
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"
SOFTWARE = f"amparo {VERSION}"

# Before numpy is loaded. The matrices of a ranking are small: several threads in several processes wait for each other
# many times longer than they compute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def text(name: str, default: str = "") -> str:
    """Read NAME, or the file that NAME_FILE points to. Refuses both at once and an unreadable file."""
    value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if value and path:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: keep one of them.")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE cannot be read ({error.strerror}): {path}") from error
    return default if value is None else value


def flag(name: str, default: bool = False) -> bool:
    """Read a yes/no variable. Refuses any other word."""
    value = text(name).lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    if value:
        raise ImproperlyConfigured(f"{name}={value!r} is neither yes nor no: write 1 or 0.")
    return default


def number(name: str, default: int) -> int:
    """Read a whole number of zero or more."""
    value = text(name)
    if value and not value.isdecimal():
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number.")
    return int(value) if value else default


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Read one of the allowed words."""
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name}={value!r} is unknown: use one of {', '.join(allowed)}.")
    return value


def networks(name: str, value: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """The value of NAME as networks such as 10.0.0.0/8, parted by commas or spaces."""
    try:
        return tuple(ipaddress.ip_network(one) for one in value.replace(",", " ").split())
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}. Write networks such as 10.1.0.0/16.") from error


# Where this instance lives
DATA_DIR = Path(text("AMPARO_DATA", str(ROOT / "instance"))).absolute()
VAULT_DIR = Path(text("VAULT_DIR", str(DATA_DIR / "vault")))
SCRATCH_DIR = Path(text("SCRATCH_DIR", str(DATA_DIR / "scratch")))
STAGING_DIR = Path(text("STAGING_DIR", str(DATA_DIR / "staging")))
MODELS_DIR = Path(text("MODELS_DIR", str(DATA_DIR / "models")))
INDEX_DIR = Path(text("INDEX_DIR", str(DATA_DIR / "cache" / "similar")))
LOG_DIR = DATA_DIR / "logs"

PRODUCTION = flag("AMPARO_PRODUCTION")
DEBUG = flag("DEBUG")
ORIGIN = text("AMPARO_ORIGIN")
NAME_IN_LOG = text("AMPARO_LOG_NAME", urlsplit(ORIGIN).hostname or "amparo.local")


def secret_key() -> str:
    """The web server's signing secret: SECRET_KEY, SECRET_KEY_FILE, or keys/secret of the instance."""
    given = text("SECRET_KEY")
    own = DATA_DIR / "keys" / "secret"
    if not given and own.exists():
        return own.read_text().strip()
    return given or "insecure-default-no-instance-yet"


SECRET_KEY = secret_key()
VAULT_KEY = text("VAULT_KEY") if "VAULT_KEY" in os.environ else ""
VAULT_KEY_FILE = Path(os.environ.get("VAULT_KEY_FILE") or DATA_DIR / "keys" / "vault.key")
VAULT_KMS = text("VAULT_KMS")
SECOND_COPY = text("AMPARO_SECOND_COPY")
SECOND_COPY_ACCOUNT = (
    text("AMPARO_SECOND_COPY_ENDPOINT"),
    text("AMPARO_SECOND_COPY_REGION", "us-east-1"),
    text("AMPARO_SECOND_COPY_KEY_ID"),
    text("AMPARO_SECOND_COPY_SECRET"),
)
MAP_KEY_FILE = Path(os.environ.get("MAP_KEY_FILE") or DATA_DIR / "keys" / "map.key")
SIGNING_KEY_FILE = Path(os.environ.get("SIGNING_KEY_FILE") or DATA_DIR / "keys" / "signing.key")
SIGNING_ML_DSA_KEY_FILE = Path(
    os.environ.get("SIGNING_ML_DSA_KEY_FILE") or SIGNING_KEY_FILE.with_name("signing-ml-dsa.key")
)
SIGNING_KMS = text("SIGNING_KMS")
LAST_CHECKPOINT_FILE = Path(os.environ.get("LAST_CHECKPOINT_FILE") or DATA_DIR / "keys" / "last-checkpoint")
POLICY_FILE = Path(os.environ["AMPARO_POLICY_FILE"]) if os.environ.get("AMPARO_POLICY_FILE") else None
TIMESTAMP_URLS = tuple(text("AMPARO_TIMESTAMP_URLS").replace(",", " ").split())
TIMESTAMP_CERTIFICATES = (
    Path(os.environ["AMPARO_TIMESTAMP_CERTIFICATES"])
    if os.environ.get("AMPARO_TIMESTAMP_CERTIFICATES")
    else None
)

# Limits, all stated in docs/install.md
UPLOAD_LIMIT = number("AMPARO_UPLOAD_LIMIT", 64 * 1024**3)
SCRATCH_LIMIT = number("AMPARO_SCRATCH_LIMIT", 2 * UPLOAD_LIMIT)
RESERVE = number("AMPARO_RESERVE", 0) if text("AMPARO_RESERVE") else None  # none: see archive/vault/room.py
FIXITY_DAYS = number("AMPARO_FIXITY_DAYS", 90)
FIXITY_RATE = number("AMPARO_FIXITY_RATE", 50_000_000)
SANDBOX = choice("AMPARO_SANDBOX", "bwrap", ("bwrap",))
MODEL_MIRROR = text("MODEL_MIRROR")
PROVENANCE_ANCHORS = (
    Path(os.environ["AMPARO_PROVENANCE_ANCHORS"]) if os.environ.get("AMPARO_PROVENANCE_ANCHORS") else None
)
TEXT_LANGUAGES = tuple(
    text("AMPARO_TEXT_LANGUAGES", "eng,ara").replace(",", " ").split()
)  # empty: no text is read
ANALYSERS = tuple(text("AMPARO_ANALYSERS").replace(",", " ").split())  # plug-ins that are on, by name

# What the archive says of itself
PUBLISH_MINUTES = number("AMPARO_PUBLISH_MINUTES", 5) or 5
ALARM_RECIPIENTS = [address for address in text("AMPARO_ALARM_EMAIL").replace(" ", "").split(",") if address]
METRICS_TOKEN = text("AMPARO_METRICS_TOKEN")
# Alerts about items may leave by webhook only where this says so, and to private networks only where it names them
WEBHOOKS = flag("AMPARO_WEBHOOKS")
WEBHOOK_NETWORKS = networks("AMPARO_WEBHOOK_NETWORKS", text("AMPARO_WEBHOOK_NETWORKS"))
_mail = urlsplit(text("AMPARO_SMTP") or "smtp://localhost")
_MAIL_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
if _mail.scheme not in _MAIL_PORTS or not _mail.hostname:
    raise ImproperlyConfigured("AMPARO_SMTP is smtp://, smtp+starttls:// or smtps:// and a host.")
EMAIL_HOST, EMAIL_PORT = _mail.hostname, _mail.port or _MAIL_PORTS[_mail.scheme]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_mail.username or ""), unquote(_mail.password or "")
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.scheme == "smtp+starttls", _mail.scheme == "smtps"
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = text("AMPARO_MAIL_FROM", f"amparo@{NAME_IN_LOG}")

# Databases and broker
DATABASE_URL = text("DATABASE_URL", f"sqlite:///{DATA_DIR / 'db.sqlite3'}")
DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_max_age=60, conn_health_checks=True)}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Several processes write: see docs/decisions/0003.
    DATABASES["default"]["CONN_MAX_AGE"] = None
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
else:
    # Lets archive/custody/store.py prepare its statements; nothing else does.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("prepare_threshold", 1)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ATOMIC_REQUESTS = False

CELERY_BROKER_URL = text("CELERY_BROKER_URL")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "guardian",
    "axes",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "archive",
    "triage",
    "evidence",
    "config",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.middleware.RequestLog",
    "config.middleware.OurErrors",
    "config.middleware.OwnPassword",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.context.surroundings",
            ],
        },
    },
]

# People
AUTH_USER_MODEL = "archive.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "/signin/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/signin/"
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = False
# Guardian's backend knows no end date of a grant: archive/access.py is the one table of rules.
SILENCED_SYSTEM_CHECKS = ["guardian.W001"]
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_DISABLE_ACCESS_LOG = True
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "amparo_session"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "config.middleware.csrf_failure"

# What a browser is told
ALLOWED_HOSTS = [h for h in text("AMPARO_ALLOWED_HOSTS").split(",") if h] or [
    urlsplit(ORIGIN).hostname or "localhost",
    "127.0.0.1",
    "localhost",
    "[::1]",
]
CSRF_TRUSTED_ORIGINS = [ORIGIN] if ORIGIN else []
SECURE = PRODUCTION or ORIGIN.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_SSL_REDIRECT = False
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if flag("AMPARO_BEHIND_PROXY") else None
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE
SECURE_CONTENT_TYPE_NOSNIFF = True
# "no-referrer" would make browsers send "Origin: null" with every form, which the CSRF check refuses
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "media-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "object-src": [NONE],
        "manifest-src": [SELF],
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024**2
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000
FILE_UPLOAD_MAX_MEMORY_SIZE = 11 * 1024**2  # a picture shown as an example; never a file on disk in the clear
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

# Language and time
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ar", "العربية")]
LOCALE_PATHS = [ROOT / "locale"]
USE_I18N = USE_TZ = True
TIME_ZONE = "UTC"

# Assets, served locally
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [ROOT / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "config.assets.Assets"},
}
WHITENOISE_MAX_AGE = 3600

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.middleware.api_error",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Amparo",
    "DESCRIPTION": "Human-rights documentation archive. Models only order what people look at.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "ItemKind": "archive.models.items.Item.Kind",
        "RenditionKind": "archive.models.items.Rendition.Kind",
        "SourceKind": "archive.models.cases.Source.Kind",
        "Answer": "archive.models.cases.Source.Answer",
    },
}

# No program of ours or of a library reaches out
os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_VERBOSE"] = "false"
os.environ["YOLO_CONFIG_DIR"] = str(SCRATCH_DIR / "ultralytics")
os.environ["OPENVINO_TELEMETRY"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"

LOGGING_CONFIG = "config.logs.configure"
LOGGING = {"level": choice("AMPARO_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))}
