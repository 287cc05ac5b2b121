"""BagIt Profiles 1.4.0, the rules of a profile held against a bag. The package on PyPI stops at 1.3 and fetches."""

from fnmatch import fnmatch
from pathlib import Path


def faults(bag: Path, profile: dict) -> list[str]:
    """What in a bag is not as the profile says."""
    info = [line.split(": ", 1) for line in (bag / "bag-info.txt").read_text(encoding="utf-8").splitlines()]
    names = {path.relative_to(bag).as_posix() for path in bag.rglob("*") if path.is_file()}
    found = [f"{name} is missing" for name in _required(profile) if name not in dict(info)]
    wanted = profile["BagIt-Profile-Info"]["BagIt-Profile-Identifier"]
    if dict(info).get("BagIt-Profile-Identifier", wanted) != wanted:
        found.append("another profile is named")
    for label, rule in profile["Bag-Info"].items():
        values = [value for name, value in info if name == label]
        if len(values) > 1 and rule.get("repeatable") is False:
            found.append(f"{label} is repeated")
        found += [
            f"{label} is {value}" for value in values if rule.get("values") and value not in rule["values"]
        ]
    for kind, rules in (("manifest", "Manifests"), ("tagmanifest", "Tag-Manifests")):
        there = {name[len(kind) + 1 : -4] for name in names if fnmatch(name, f"{kind}-*.txt")}
        found += [f"{kind} {name} is missing" for name in profile[f"{rules}-Required"] if name not in there]
        found += [
            f"{kind} {name} is not allowed" for name in sorted(there - set(profile[f"{rules}-Allowed"]))
        ]
    tags = {name for name in names if not fnmatch(name, "data/*") and not fnmatch(name, "*manifest-*.txt")}
    tags -= {"bagit.txt", "bag-info.txt", "fetch.txt"}
    found += [f"tag file {name} is missing" for name in profile["Tag-Files-Required"] if name not in tags]
    allowed = profile["Tag-Files-Allowed"]
    found += [
        f"tag file {n} is not allowed" for n in sorted(tags) if not any(fnmatch(n, each) for each in allowed)
    ]
    if "fetch.txt" in names and not profile["Allow-Fetch.txt"]:
        found.append("fetch.txt is not allowed")
    version = (bag / "bagit.txt").read_text().split("\n")[0].removeprefix("BagIt-Version: ")
    if version not in profile["Accept-BagIt-Version"]:
        found.append(f"version {version} is not allowed")
    return found


def _required(profile: dict) -> list[str]:
    asked = [label for label, rule in profile["Bag-Info"].items() if rule.get("required")]
    return ["BagIt-Profile-Identifier", *asked]
