"""Settings: layers, types, and refusals that say what to write instead."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe import settings
from dropscribe.errors import UsageError
from dropscribe.formats import BINARY_RENDERERS, RENDERERS
from dropscribe.supervisor import hook_facts

CONFIG = Path(__file__).parent.parent / "config"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def write(environ: dict[str, str], text: str) -> Path:
    path = Path(environ["HOME"]) / "config.toml"
    path.write_text(text, encoding="utf-8")
    environ["DROPSCRIBE_CONFIG"] = str(path)
    return path


def test_the_shipped_file_is_what_the_code_says() -> None:
    assert (CONFIG / "default.toml").read_text(encoding="utf-8") == settings.build_default_toml()


def test_every_format_can_be_set_and_nothing_else() -> None:
    assert sorted([*RENDERERS, *BINARY_RENDERERS]) == sorted(settings.FORMATS)
    assert settings.FORMATS[-1] == "json"


def test_the_shipped_file_changes_nothing(environ: dict[str, str]) -> None:
    plain = settings.load(environ=environ).settings
    write(environ, (CONFIG / "default.toml").read_text(encoding="utf-8"))
    assert settings.load(environ=environ).settings == plain
    plain_keys = {key for key in settings.KEYS if "." not in key}
    found = tomllib.loads(settings.build_default_toml())
    assert set(found) == plain_keys - {"archive", "state", "logs"} | {"backends"}
    assert {f"backends.whisperx.{key}" for key in found["backends"]["whisperx"]} == set(settings.KEYS) - plain_keys


def test_a_backend_of_its_own_has_a_table(environ: dict[str, str]) -> None:
    path = write(environ, '[backends.whisperx]\npython = "~/x/bin/python"\naligner = "/a"\n')
    loaded = settings.load(environ=environ)
    assert (loaded.settings.whisperx_python, loaded.settings.whisperx_aligner) == ("~/x/bin/python", "/a")
    assert loaded.origin["whisperx_python"] == str(path)
    environ["DROPSCRIBE_WHISPERX_PYTHON"] = "/y/bin/python"
    assert settings.load(environ=environ).settings.whisperx_python == "/y/bin/python"
    write(environ, '[backends.whisperx]\npyhton = "/x/bin/python"\n')
    with pytest.raises(UsageError, match=r"no setting `backends.whisperx.pyhton`. Did you mean .*whisperx.python"):
        settings.load(environ=environ)


def test_a_later_layer_wins_and_is_named(environ: dict[str, str]) -> None:
    path = write(environ, 'model = "tiny"\nlanguage = "de"\nsettle_seconds = 5\n')
    environ |= {"DROPSCRIBE_LANGUAGE": "fr", "DROPSCRIBE_SETTLE_SECONDS": "7.5", "DROPSCRIBE_RECURSIVE": "no"}
    loaded = settings.load({"settle_seconds": "1", "formats": "srt, vtt"}, environ)
    assert (loaded.settings.model, loaded.settings.language, loaded.settings.settle_seconds) == ("tiny", "fr", 1.0)
    assert loaded.settings.recursive is False
    assert loaded.settings.formats == ("srt", "vtt", "json")
    assert loaded.origin["model"] == str(path)
    assert loaded.origin["language"] == "DROPSCRIBE_LANGUAGE"
    assert loaded.origin["settle_seconds"] == "--settle-seconds"
    assert loaded.origin["threads"] == "default"


def test_a_command_is_a_list_or_a_text_split_as_a_shell_would(environ: dict[str, str]) -> None:
    write(environ, 'on_done = ["/usr/bin/notify", "it is $HOME", "a, b"]')
    environ["DROPSCRIBE_ON_FAILED"] = "/usr/bin/notify 'it is $HOME' \"a, b\""
    loaded = settings.load(environ=environ).settings
    assert loaded.on_done == loaded.on_failed == ("/usr/bin/notify", "it is $HOME", "a, b")
    assert settings.load({"on_done": ""}, environ).settings.on_done == ()


def test_a_list_or_a_table_in_a_variable_may_be_written_as_in_the_file(environ: dict[str, str]) -> None:
    environ |= {
        "DROPSCRIBE_ON_DONE": '["/bin/sh", "-c", "echo \'a, b\' > [x]"]',
        "DROPSCRIBE_FORMATS": " ['srt', 'txt'] ",
        "DROPSCRIBE_CHANNELS": '["Smith, Ann", "", "Ben"]',
        "DROPSCRIBE_REPLACEMENTS": '{"a, b" = "c = d"}',
    }
    loaded = settings.load({"glossary": '["Aalto"]'}, environ).settings
    assert loaded.on_done == ("/bin/sh", "-c", "echo 'a, b' > [x]")
    assert (loaded.formats, loaded.channels) == (("srt", "txt", "json"), ("Smith, Ann", "", "Ben"))
    assert (loaded.glossary, loaded.replacements) == (("Aalto",), {"a, b": "c = d"})


@pytest.mark.parametrize("text", ['["/bin/sh", "-c"', "[1]", "[/bin/sh]", "[]\non_failed = ['x']", "[" * 5000])
def test_what_begins_as_a_list_and_is_none_is_no_programs_name(environ: dict[str, str], text: str) -> None:
    with pytest.raises(UsageError, match=r"^DROPSCRIBE_ON_DONE: `on_done` is .*Write a command as a list"):
        settings.load(environ=environ | {"DROPSCRIBE_ON_DONE": text})


@pytest.mark.parametrize(
    ("written", "meant"),
    [("german", "de"), ("Deutsch", "de"), ("ger", "de"), ("DE", "de"), ("pt-BR", "pt"), ("frensh", "fr")],
)
def test_the_name_of_a_language_is_answered_with_its_code(environ: dict[str, str], written: str, meant: str) -> None:
    path = write(environ, f'language = "{written}"')
    with pytest.raises(UsageError) as caught:
        settings.load(environ=environ)
    assert str(caught.value).startswith(f"{path}: Whisper knows no language `{written}`. Did you mean `{meant}`? ")
    with pytest.raises(UsageError, match=f"Did you mean `{meant}`"):
        settings.load({"languages": ["en", written]}, {"HOME": environ["HOME"]})


def test_what_resembles_no_language_is_answered_without_a_guess(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"^--language: Whisper knows no language `qqqq`\. Write an ISO code"):
        settings.load({"language": "qqqq"}, environ)


def test_settings_that_contradict_each_other_in_one_place_are_refused(environ: dict[str, str]) -> None:
    path = write(environ, 'language = "fi"\nlanguages = ["en", "de"]')
    with pytest.raises(UsageError) as caught:
        settings.load(environ=environ)
    assert str(caught.value).startswith(f"{path}: `language` is `fi`, which is none of `languages`: en, de.")
    write(environ, 'languages = ["en", "de"]')
    assert settings.load({"language": "fi"}, environ).settings.language == "fi"  # the later layer wins


def test_whatever_is_wrong_is_said_with_its_place(environ: dict[str, str]) -> None:
    path = write(environ, 'model = "tiny.en"\nwebhook = "nowhere"')
    with pytest.raises(UsageError, match=r"^DROPSCRIBE_TASK: The model tiny\.en knows English only"):
        settings.load({"webhook": ""}, environ | {"DROPSCRIBE_TASK": "translate"})
    with pytest.raises(UsageError) as caught:
        settings.load(environ=environ)
    assert caught.value.message == f"{path}: `webhook` is no address that can be used."
    with pytest.raises(UsageError, match=r"^--inbox, --outbox: `inbox` and `outbox` are the same folder"):
        settings.load({"webhook": "", "inbox": "/x", "outbox": "/x"}, environ)


def test_the_archive_is_next_to_the_inbox_unless_it_is_set(environ: dict[str, str]) -> None:
    assert settings.load(environ=environ).settings.archive == Path(environ["HOME"]) / "Dropscribe/Archive"
    assert settings.load({"inbox": "/srv/in"}, environ).settings.archive == Path("/srv/Archive")
    assert settings.load({"inbox": "/srv/in", "archive": "/old"}, environ).settings.archive == Path("/old")
    assert settings.load({"inbox": "."}, environ).settings.archive == Path.cwd().parent / "Archive"


def test_what_a_hook_is_given_is_no_setting(environ: dict[str, str]) -> None:
    variables = hook_facts.format_variables(dict.fromkeys(["event", "id", "source", "model", "seconds"], "x"))
    assert settings.load(environ=environ | variables).settings == settings.load(environ=environ).settings


def test_lists_and_tables_come_from_the_file_and_as_text(environ: dict[str, str]) -> None:
    write(environ, 'glossary = [" Aalto  University ", "b", "b"]\n[replacements]\n" drop  scribe" = "Drop=scribe"\n')
    loaded = settings.load({"languages": "de, en"}, environ | {"DROPSCRIBE_CHANNELS": "Host,Guest"}).settings
    assert (loaded.glossary, loaded.languages) == (("Aalto University", "b"), ("de", "en"))
    assert (loaded.channels, loaded.replacements) == (("Host", "Guest"), {"drop scribe": "Drop=scribe"})
    again = settings.load({"replacements": "drop scribe = Drop=scribe,"}, environ).settings
    assert again.replacements == loaded.replacements
    assert settings.load({"replacements": ""}, environ).settings.replacements == {}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("audio_track", 2, 2),
        ("audio_track", "2", 2),
        ("audio_track", "auto", 0),
        ("speech_threshold", 0.3, 0.3),
        ("speech_threshold", "0.3", 0.3),
        ("speech_threshold", "off", 0.0),
        ("speech_threshold", 0, 0.0),
    ],
)
def test_some_numbers_may_be_words(name: str, given: object, value: float) -> None:
    assert settings.parse_value(name, given, "a file") == value


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("audio_track", -1),
        ("audio_track", 1.5),
        ("audio_track", "off"),
        ("speech_threshold", 2),
        ("speech_threshold", 0.01),
        ("speech_threshold", "on"),
        ("speech_threshold", False),
    ],
)
def test_numbers_have_their_limits(name: str, given: object) -> None:
    with pytest.raises(UsageError) as caught:
        settings.parse_value(name, given, "a file")
    assert (
        caught.value.cure
        == {
            "audio_track": 'Write a whole number, 0 or more, or "auto".',
            "speech_threshold": 'Write a number, 0.05 to 0.95, or "off".',
        }[name]
    )


def test_names_of_channels_keep_their_places(environ: dict[str, str]) -> None:
    for text, names in (("Host,,Guest", ("Host", "", "Guest")), ("Ann, Ann", ("Ann", "Ann")), ("Host,,", ("Host",))):
        assert settings.load({"channels": text}, environ).settings.channels == names
    assert settings.load({"channels": ""}, environ).settings.channels == ()


def test_the_file_may_begin_as_windows_writes_it(environ: dict[str, str]) -> None:
    write(environ, '\ufeffmodel = "tiny"\r\n')
    assert settings.load(environ=environ).settings.model == "tiny"


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_written_as_toml_that_says_the_same(text: str) -> None:
    written = settings.to_toml((text,)), settings.to_toml(settings.Table({text: text}))
    assert [tomllib.loads(f"a = {value}")["a"] for value in written] == [[text], {text: text}]


def test_folders_are_absolute_and_follow_home(environ: dict[str, str]) -> None:
    loaded = settings.load({"outbox": "relative/out"}, environ).settings
    assert loaded.inbox == Path(environ["HOME"]) / "Dropscribe/Inbox"
    assert loaded.outbox == Path.cwd() / "relative/out"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('outbx = "/x"', ["outbx", "outbox"]),
        ("settle_seconds = -1", ["settle_seconds", "-1", "0 or more"]),
        ("settle_seconds = nan", ["settle_seconds", "nan"]),
        ('settle_seconds = "soon"', ["settle_seconds", "soon"]),
        ("threads = 1.5", ["threads", "1.5", "whole number"]),
        ("threads = true", ["threads", "True"]),
        ("threads = inf", ["threads", "inf", "whole number"]),
        ("log_megabytes = inf", ["log_megabytes", "inf", "0.01 or more"]),
        ("threads = 0x" + "f" * 5000, ["threads", "a very long number"]),
        ("threads = 1" + "0" * 5000, ["not valid TOML"]),
        ("glossary = " + "[" * 5000, ["not valid TOML"]),
        ("recursive = 3", ["recursive", "true or false"]),
        ('observer = "magic"', ["observer", "magic", "auto, native, polling"]),
        ('formats = ["odt"]', ["formats", "odt", "srt"]),
        ("formats = [1]", ["formats"]),
        ("formats = []", ["formats", '["json"] where nothing else']),
        ('formats = ""', ["formats", "one or more"]),
        ("inbox = 3", ["inbox", "path of a folder"]),
        ('inbox = "~nobody-of-this-name/x"', ["~nobody-of-this-name", "whole path"]),
        ('inbox = ""', ["inbox"]),
        ('task = "sing"', ["task", "transcribe, translate"]),
        ('languages = ["de", "english"]', ["languages", "ISO codes"]),
        ("glossary = [1]", ["glossary", "a list of text"]),
        ('replacements = "a, b=c"', ["replacements", "table"]),
        ('replacements = {"a" = "b", " A " = "c"}', ["replacements", "stand twice on the left"]),
        ('language = "english"', ["english", "ISO code such as en"]),
        ('model = "tiny.en"\nlanguage = "de"', ["tiny.en", "English only"]),
        ('model = "base.en"\ntask = "translate"', ["base.en", "English only"]),
        ('model = "base.en"\nlanguages = ["de", "fr"]', ["base.en", "English only"]),
        ("inbox = unquoted", ["not valid TOML", "quotes"]),
        ('after = "burn"', ["after", "burn", "keep, archive, trash, delete"]),
        ('after = "archive"\narchive = "~/Dropscribe/Inbox/old"', ["archive", "inbox", "folder of its own"]),
        ('on_done = "notify \'it"', ["on_done", "a command as a list"]),
        ("on_done = [1]", ["on_done", "a command as a list"]),
        ('on_failed = ["", "x"]', ["on_failed", "a command as a list"]),
        ('webhook = "example.org/x"', ["webhook", "https://"]),
        ('webhook = "file:///etc/passwd"', ["webhook", "https://"]),
        ('names = "transcript"', ["names", "{stem} or {name}"]),
        ('names = "../{stem}"', ["names", "a file name"]),
        ('names = "{stem}.{langauge}"', ["names", "{language}"]),
        ("subtitle_columns = 3", ["subtitle_columns", '8 to 120, or "auto"']),
        ("hook_tries = 0", ["hook_tries", "1 or more"]),
    ],
)
def test_bad_values_are_refused_with_their_cure(environ: dict[str, str], text: str, words: list[str]) -> None:
    write(environ, text)
    with pytest.raises(UsageError) as caught:
        settings.load(environ=environ)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["https://me:secret@example.org/", "https://example.org/secret x", "https://example.org/sécret", "ftp://secret"],
)
def test_an_address_that_cannot_be_used_is_refused_and_not_shown(environ: dict[str, str], address: str) -> None:
    with pytest.raises(UsageError, match="`webhook`") as caught:
        settings.load({"webhook": address}, environ)
    assert "cret" not in str(caught.value)


def test_unknown_variables_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"DROPSCRIBE_OUTBXO.*`outbox`"):
        settings.load(environ=environ | {"DROPSCRIBE_OUTBXO": "/x"})
    settings.load(environ=environ | {"DROPSCRIBE_MODELS": "/x"})


def test_a_named_file_must_exist(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        settings.load(environ=environ | {"DROPSCRIBE_CONFIG": "/nowhere/config.toml"})


def test_the_outbox_may_lie_in_the_inbox_and_nothing_else_may(tmp_path: Path, environ: dict[str, str]) -> None:
    inbox = str(tmp_path / "in")
    settings.load({"inbox": inbox, "outbox": f"{inbox}/out"}, environ)
    for flags in (
        {"inbox": inbox, "outbox": inbox},
        {"inbox": inbox, "outbox": f"{inbox}/../in"},
        {"inbox": f"{inbox}/deeper", "outbox": inbox},
        {"inbox": inbox, "outbox": f"{tmp_path}/out", "state": f"{inbox}/state"},
        {"inbox": inbox, "outbox": f"{tmp_path}/out", "state": f"{tmp_path}/out"},
    ):
        with pytest.raises(UsageError):
            settings.load(flags, environ)


def test_links_do_not_hide_that_two_folders_are_one(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(UsageError, match="same folder"):
        settings.load({"inbox": str(tmp_path / "in"), "outbox": str(tmp_path / "link")}, environ)
