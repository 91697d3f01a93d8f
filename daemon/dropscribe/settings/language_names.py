"""What people write for a language instead of Whisper's code, and which code they mean."""

from __future__ import annotations

import difflib

_ENGLISH = (
    "af Afrikaans,am Amharic,ar Arabic,as Assamese,az Azerbaijani,ba Bashkir,be Belarusian,bg Bulgarian,"
    "bn Bengali,bo Tibetan,br Breton,bs Bosnian,ca Catalan,cs Czech,cy Welsh,da Danish,de German,el Greek,"
    "en English,es Spanish,et Estonian,eu Basque,fa Persian,fi Finnish,fo Faroese,fr French,gl Galician,"
    "gu Gujarati,ha Hausa,haw Hawaiian,he Hebrew,hi Hindi,hr Croatian,ht Haitian,hu Hungarian,hy Armenian,"
    "id Indonesian,is Icelandic,it Italian,ja Japanese,jw Javanese,ka Georgian,kk Kazakh,km Khmer,kn Kannada,"
    "ko Korean,la Latin,lb Luxembourgish,ln Lingala,lo Lao,lt Lithuanian,lv Latvian,mg Malagasy,mi Maori,"
    "mk Macedonian,ml Malayalam,mn Mongolian,mr Marathi,ms Malay,mt Maltese,my Burmese,ne Nepali,nl Dutch,"
    "nn Nynorsk,no Norwegian,oc Occitan,pa Punjabi,pl Polish,ps Pashto,pt Portuguese,ro Romanian,ru Russian,"
    "sa Sanskrit,sd Sindhi,si Sinhala,sk Slovak,sl Slovenian,sn Shona,so Somali,sq Albanian,sr Serbian,"
    "su Sundanese,sv Swedish,sw Swahili,ta Tamil,te Telugu,tg Tajik,th Thai,tk Turkmen,tl Tagalog,tr Turkish,"
    "tt Tatar,uk Ukrainian,ur Urdu,uz Uzbek,vi Vietnamese,yi Yiddish,yo Yoruba,yue Cantonese,zh Chinese"
)
_OTHERS = (
    # The languages' own names, and other English ones.
    "de Deutsch,fr Français,es Español,es Castellano,it Italiano,pt Português,nl Nederlands,nl Flemish,"
    "sv Svenska,da Dansk,no Norsk,fi Suomi,pl Polski,cs Čeština,ru Русский,uk Українська,ja 日本語,ko 한국어,"
    "zh 中文,zh Mandarin,tr Türkçe,ca Català,ro Română,hu Magyar,el Ελληνικά,he עברית,ar العربية,hi हिन्दी,"
    "fa Farsi,tl Filipino,no Bokmål,"
    # Codes of countries and of older or longer lists.
    "ja jp,zh cn,ko kr,cs cz,da dk,el gr,sv se,uk ua,he iw,id in,yi ji,jw jv,no nb,en eng,de deu,de ger,"
    "fr fra,fr fre,es spa,it ita,pt por,nl nld,nl dut,ru rus,ja jpn,zh zho,zh chi,ko kor,ar ara,hi hin,"
    "tr tur,pl pol,sv swe,uk ukr"
)
_CODES = {
    name.casefold(): code for code, _, name in (pair.partition(" ") for pair in f"{_ENGLISH},{_OTHERS}".split(","))
}


def suggest_language(text: str) -> str:
    """Return the code of the language that `text` seems to mean, or nothing.

    `german`, `Deutsch`, `ger`, `DE`, `de-AT` and `germn` all give `de`.
    """
    word = text.strip().casefold()
    codes = set(_CODES.values())
    for part in (word, word.replace("_", "-").partition("-")[0]):
        if part in codes:
            return part
        if part in _CODES:
            return _CODES[part]
    near = difflib.get_close_matches(word, [name for name in _CODES if len(name) > 3], n=1, cutoff=0.75)
    return _CODES[near[0]] if near else ""
