"""The image by itself."""

import json

from tests.container.stacks import ROOT, Stack, run

MOST_MB_OVER_BASE = 120


def base_image() -> str:
    froms = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if "FROM" in line]
    return froms[-1].split()[1]


def size_mb(image: str) -> float:
    return json.loads(run("docker", "image", "inspect", image))[0]["Size"] / 1e6


def in_image(stack: Stack, script: str) -> str:
    return run("docker", "run", "--rm", "--network", "none", stack.image, "bash", "-c", script)


def test_image_is_small_over_its_base(stack: Stack, capsys) -> None:
    whole, base = size_mb(stack.image), size_mb(base_image())
    with capsys.disabled():
        print(f"\n  image: {whole:.0f} MB, {whole - base:.0f} MB over {base_image()}")
    assert whole - base < MOST_MB_OVER_BASE


def test_image_has_no_compiler_and_no_embedded_database(stack: Stack) -> None:
    assert in_image(stack, "command -v gcc cc g++ make ld rustc cargo uv || true") == ""
    assert (
        in_image(stack, "ls /opt/stowage/lib/python3*/site-packages | grep -i pgserver || true")
        == ""
    )
    assert in_image(stack, "ls /opt/stowage/bin | grep -x pip || true") == ""


def test_image_carries_the_bytecode_of_everything_it_runs(stack: Stack) -> None:
    script = """
    for file in $(find /opt/stowage/lib /srv/stowage -name '*.py' | grep -v /__pycache__/); do
      compiled=("$(dirname "$file")/__pycache__/$(basename "$file" .py)".cpython-*.pyc)
      [ -e "${compiled[0]}" ] || echo "$file"
    done"""
    missing = [line for line in in_image(stack, script).splitlines() if "template" not in line]
    assert missing == []


def test_libraries_come_without_docstrings_and_with_assertions(stack: Stack) -> None:
    script = (
        "import json, django.utils.timezone as django, app.ops.bytecode as ours;"
        "print(json.dumps.__doc__, django.now.__doc__, bool(ours.__doc__), __debug__)"
    )
    assert in_image(stack, f"python -c '{script}'").split() == ["None", "None", "True", "True"]


def test_image_holds_nothing_but_the_application(stack: Stack) -> None:
    names = in_image(stack, "ls -A /srv/stowage").split()
    assert sorted(names) == ["__pycache__", "app", "asgi.py", "healthy.sh", "manage.py", "settings"]


def test_image_runs_as_an_ordinary_user(stack: Stack) -> None:
    assert in_image(stack, "id -u").strip() == "10001"


def test_image_without_settings_says_which_is_missing(stack: Stack) -> None:
    said = in_image(stack, "uvicorn asgi:application 2>&1 | tail -1")
    assert said == (
        "settings.env.SettingsError: SECRET_KEY is not set. "
        "Set it, or SECRET_KEY_FILE to a file that holds it.\n"
    )


def test_image_stops_on_sigterm_and_has_a_health_probe(stack: Stack) -> None:
    config = json.loads(run("docker", "image", "inspect", stack.image))[0]["Config"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "bash", "/srv/stowage/healthy.sh"]
