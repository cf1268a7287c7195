"""The languages that can be ordered: their names, and the codes that stand in ids."""

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["LANGUAGES", "language_code"]

_TABLE: Final = """\
English = en; Spanish = es; French = fr; Hindi = hi; Italian = it; German = de; Polish = pl;
Portuguese = pt; Chinese = zh; Japanese = ja; Dutch = nl; Turkish = tr; Korean = ko; Danish = da;
Arabic = ar; Romanian = ro; Mandarin = cmn; Filipino = fil; Swedish = sv; Indonesian = id;
Ukrainian = uk; Greek = el; Czech = cs; Bulgarian = bg; Malay = ms; Slovak = sk; Croatian = hr;
Tamil = ta; Finnish = fi; Russian = ru; Afrikaans (South Africa) = af-ZA;
Albanian (Albania) = sq-AL; Amharic (Ethiopia) = am-ET; Arabic (Algeria) = ar-DZ;
Arabic (Bahrain) = ar-BH; Arabic (Egypt) = ar-EG; Arabic (Iraq) = ar-IQ; Arabic (Jordan) = ar-JO;
Arabic (Kuwait) = ar-KW; Arabic (Lebanon) = ar-LB; Arabic (Libya) = ar-LY;
Arabic (Morocco) = ar-MA; Arabic (Oman) = ar-OM; Arabic (Qatar) = ar-QA;
Arabic (Saudi Arabia) = ar-SA; Arabic (Syria) = ar-SY; Arabic (Tunisia) = ar-TN;
Arabic (United Arab Emirates) = ar-AE; Arabic (Yemen) = ar-YE; Armenian (Armenia) = hy-AM;
Azerbaijani (Latin, Azerbaijan) = az-AZ; Bangla (Bangladesh) = bn-BD; Basque = eu;
Bengali (India) = bn-IN; Bosnian (Bosnia and Herzegovina) = bs-BA; Bulgarian (Bulgaria) = bg-BG;
Burmese (Myanmar) = my-MM; Catalan = ca; Chinese (Cantonese, Traditional) = zh-HK;
Chinese (Mandarin, Simplified) = zh-CN; Chinese (Taiwanese Mandarin, Traditional) = zh-TW;
Croatian (Croatia) = hr-HR; Czech (Czechia) = cs-CZ; Danish (Denmark) = da-DK;
Dutch (Belgium) = nl-BE; Dutch (Netherlands) = nl-NL; English (Australia) = en-AU;
English (Canada) = en-CA; English (Hong Kong SAR) = en-HK; English (India) = en-IN;
English (Ireland) = en-IE; English (Kenya) = en-KE; English (New Zealand) = en-NZ;
English (Nigeria) = en-NG; English (Philippines) = en-PH; English (Singapore) = en-SG;
English (South Africa) = en-ZA; English (Tanzania) = en-TZ; English (UK) = en-GB;
English (United States) = en-US; Estonian (Estonia) = et-EE; Filipino (Philippines) = fil-PH;
Finnish (Finland) = fi-FI; French (Belgium) = fr-BE; French (Canada) = fr-CA;
French (France) = fr-FR; French (Switzerland) = fr-CH; Galician = gl; Georgian (Georgia) = ka-GE;
German (Austria) = de-AT; German (Germany) = de-DE; German (Switzerland) = de-CH;
Greek (Greece) = el-GR; Gujarati (India) = gu-IN; Hebrew (Israel) = he-IL; Hindi (India) = hi-IN;
Hungarian (Hungary) = hu-HU; Icelandic (Iceland) = is-IS; Indonesian (Indonesia) = id-ID;
Irish (Ireland) = ga-IE; Italian (Italy) = it-IT; Japanese (Japan) = ja-JP;
Javanese (Latin, Indonesia) = jv-ID; Kannada (India) = kn-IN; Kazakh (Kazakhstan) = kk-KZ;
Khmer (Cambodia) = km-KH; Korean (Korea) = ko-KR; Lao (Laos) = lo-LA; Latvian (Latvia) = lv-LV;
Lithuanian (Lithuania) = lt-LT; Macedonian (North Macedonia) = mk-MK; Malay (Malaysia) = ms-MY;
Malayalam (India) = ml-IN; Maltese (Malta) = mt-MT; Marathi (India) = mr-IN;
Mongolian (Mongolia) = mn-MN; Nepali (Nepal) = ne-NP; Norwegian Bokmål (Norway) = nb-NO;
Pashto (Afghanistan) = ps-AF; Persian (Iran) = fa-IR; Polish (Poland) = pl-PL;
Portuguese (Brazil) = pt-BR; Portuguese (Portugal) = pt-PT; Romanian (Romania) = ro-RO;
Russian (Russia) = ru-RU; Serbian (Latin, Serbia) = sr-RS; Sinhala (Sri Lanka) = si-LK;
Slovak (Slovakia) = sk-SK; Slovenian (Slovenia) = sl-SI; Somali (Somalia) = so-SO;
Spanish (Argentina) = es-AR; Spanish (Chile) = es-CL; Spanish (Colombia) = es-CO;
Spanish (Mexico) = es-MX; Spanish (Peru) = es-PE; Spanish (Spain) = es-ES;
Spanish (United States) = es-US; Sundanese (Indonesia) = su-ID; Swahili (Kenya) = sw-KE;
Swahili (Tanzania) = sw-TZ; Swedish (Sweden) = sv-SE; Tamil (India) = ta-IN;
Tamil (Malaysia) = ta-MY; Tamil (Singapore) = ta-SG; Tamil (Sri Lanka) = ta-LK;
Telugu (India) = te-IN; Thai (Thailand) = th-TH; Turkish (Türkiye) = tr-TR;
Ukrainian (Ukraine) = uk-UA; Urdu (India) = ur-IN; Urdu (Pakistan) = ur-PK;
Uzbek (Latin, Uzbekistan) = uz-UZ; Vietnamese (Vietnam) = vi-VN; Welsh (United Kingdom) = cy-GB;
Zulu (South Africa) = zu-ZA
"""

LANGUAGES: Final[Mapping[str, str]] = dict(
    re.findall(r"([^\s;=][^=;]*) = ([\w-]+)", _TABLE),
)
"""The code of each language by its name."""

_CODES: Final = {word.casefold(): code for name, code in LANGUAGES.items() for word in (name, code)}


def language_code(language: str) -> str | None:
    """Return the code of a language by its name or code; None if there is no such language."""
    return _CODES.get(language.strip().casefold())
