"""Makes the fixtures of internal/tokenize from the answers of the reference implementation.

    pip install tokenizers==0.23.3 zstandard==0.25.0
    python3 gen.py TOKENIZER_JSON BROWN_FOLDER

Run in this folder. TOKENIZER_JSON is the tokenizer of all-MiniLM-L6-v2; BROWN_FOLDER holds the texts ca01 to cr09 of the
Brown corpus (only hashes of the ids of its sentences are kept). Writes

  tokenizer.json.zst      TOKENIZER_JSON, compressed
  wordpiece.jsonl.zst     10,000 strings with their ids, without truncation and padding
  brown.tsv               for the first sentence of at least 4 words of each text: name, number of ids, hash of the ids
  options.jsonl.zst       small tokenizers with every option that is supported, and the answers to 60 texts each
  codepoints.txt          for every block of 256 code points a hash of how the reference normalises and splits each
  ../../internal/tokenize/tables.go   the classes of characters as the reference has them
"""
import hashlib, json, os, random, re, sys, unicodedata
import zstandard
from tokenizers import Tokenizer, normalizers, pre_tokenizers

rnd = random.Random(20240607)
CODEPOINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ASSIGNED = [c for c in CODEPOINTS if unicodedata.category(chr(c)) not in ("Cn", "Co")]
MARKS = [c for c in ASSIGNED if unicodedata.category(chr(c)) in ("Mn", "Mc", "Me")]
PUNCT = [c for c in ASSIGNED if unicodedata.category(chr(c))[0] in "PS"]
SPACES = [c for c in CODEPOINTS if chr(c).isspace()] + [0x180E, 0x200B, 0x2060, 0xFEFF]
OTHER = [c for c in CODEPOINTS if unicodedata.category(chr(c)) in ("Cc", "Cf")] + [0xFFFD, 0xE000, 0xFFFE, 0xFFFF, 0x10FFFF, 0x378]
CASED = [c for c in ASSIGNED if chr(c).lower() != chr(c) or chr(c).upper() != chr(c)]
DECOMPOSED = [c for c in ASSIGNED if unicodedata.normalize("NFD", chr(c)) != chr(c)]
EMOJI = list(range(0x1F300, 0x1F650)) + list(range(0x1F900, 0x1FA00)) + list(range(0x2600, 0x27C0))
SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[cls]", "[ SEP ]", "[[MASK]]", "##ing", "[unused1]", "<s>", "[CLS", "SEP]"]
WORDS = "the quick brown fox naïve café Ångström Ελληνικά ΣΊΣΥΦΟΣ Привет мир İstanbul ıssız straße GROẞ 東京 中文字 한국어 ภาษาไทย हिन्दी தமிழ் العربية עברית unaffable tokenization 3.14 2024-06-07 e-mail don't $5 C++ Ⅷ ﬁne ① ½ x² ǅ ŉ".split()


def pick(pool, lo, hi):
    return "".join(chr(rnd.choice(pool)) for _ in range(rnd.randint(lo, hi)))


def span(a, b):
    return list(range(a, b))


def words(n):
    return " ".join(rnd.choice(WORDS) for _ in range(n))


LATIN = span(0x61, 0x7B) + span(0xC0, 0x250) + span(0x1E00, 0x1F00)
CJK = span(0x4E00, 0xA000) + span(0x3040, 0x3100) + span(0xAC00, 0xD7A4) + span(0x1100, 0x1200) + span(0x3400, 0x3440) + span(0x20000, 0x20100) + span(0x2A700, 0x2A720) + span(0x2B820, 0x2B930) + span(0xF900, 0xFB00) + span(0x2F800, 0x2FA1E) + span(0xFF00, 0xFFF0)
RTL = span(0x590, 0x780) + span(0x8A0, 0x900) + [0x200E, 0x200F, 0x202B, 0x202C, 0x20, 0x20, 0x20]
INDIC = span(0x900, 0xE80) + [0x20] * 40


def emoji():
    e = chr(rnd.choice(EMOJI))
    for _ in range(rnd.randint(0, 4)):
        e += rnd.choice(["\u200d" + chr(rnd.choice(EMOJI)), "\ufe0f", chr(rnd.randint(0x1F3FB, 0x1F3FF)), "\u20e3", " "])
    if rnd.random() < 0.3:
        e += chr(rnd.randint(0x1F1E6, 0x1F1FF)) + chr(rnd.randint(0x1F1E6, 0x1F1FF))
    return e


def insert(pool, n):
    text = list(words(rnd.randint(2, 8)))
    for _ in range(n):
        text.insert(rnd.randint(0, len(text)), chr(rnd.choice(pool)))
    return "".join(text)


def longword():
    unit = rnd.choice(["a", "ab", "é", "e\u0301", "字", "ﬁ", "x1", "unbreakable", "𝒳", "ß"])
    n = rnd.choice([95, 98, 99, 100, 101, 102, 150, 300])
    return words(1) + " " + (unit * n)[:n] + rnd.choice(["", ".", " end", "]"])


def special():
    return "".join(rnd.choice(SPECIAL + WORDS) + rnd.choice(["", " ", "  ", ".", "\n"]) for _ in range(rnd.randint(1, 7)))


KINDS = [
    (600, lambda: unicodedata.normalize(rnd.choice(["NFC", "NFD", "NFKC", "NFKD"]), " ".join(pick(LATIN, 1, 12) for _ in range(rnd.randint(1, 8))))),
    (600, lambda: pick(CJK, 1, 40)),
    (500, emoji),
    (500, lambda: insert(OTHER, rnd.randint(1, 6))),
    (600, lambda: insert(MARKS, rnd.randint(1, 45))),
    (300, lambda: chr(rnd.choice(LATIN)) + pick(MARKS, 20, 60) + "x"),
    (300, longword),
    (400, lambda: pick(RTL, 3, 40)),
    (400, lambda: pick(INDIC, 3, 40)),
    (400, lambda: insert(SPACES, rnd.randint(1, 12))),
    (500, special),
    (500, lambda: insert(PUNCT, rnd.randint(1, 10))),
    (400, lambda: insert(CASED, rnd.randint(2, 12))),
    (300, lambda: insert(DECOMPOSED, rnd.randint(2, 12))),
    (300, lambda: pick(ASSIGNED, 1, 30)),
    (200, lambda: pick(CODEPOINTS, 1, 20)),
    (200, lambda: pick(span(0, 0x100), 0, 30)),
]


def spam():
    for part in ("validation", "test", "train"):
        raw = zstandard.ZstdDecompressor().stream_reader(open(f"../spam/{part}.jsonl.zst", "rb")).read()
        for line in raw.decode().splitlines():
            e = json.loads(line)
            yield part + "/" + e["id"], e["text"]


def write(name, lines):
    data = "".join(lines).encode()
    c = zstandard.ZstdCompressor(level=19, write_checksum=True)
    open(name, "wb").write(c.compress(data))


def digest(ids):
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16]


def wordpiece(tok):
    lines = []
    for name, text in spam():
        if len(lines) == 10000 - sum(n for n, _ in KINDS):
            break
        ids = tok.encode(text).ids  # whole texts; the first ids are kept to show where a difference starts
        lines.append(json.dumps({"spam": name, "n": len(ids), "hash": digest(ids), "ids": ids[:8]}) + "\n")
    for n, make in KINDS:
        for _ in range(n):
            text = make()
            lines.append(json.dumps({"text": text, "ids": tok.encode(text).ids}, ensure_ascii=False, separators=(",", ":")) + "\n")
    assert len(lines) == 10000, len(lines)
    write("wordpiece.jsonl.zst", lines)


def brown(tok, folder):
    out = []
    for name in sorted(os.listdir(folder)):
        for line in open(os.path.join(folder, name), encoding="latin-1"):
            sentence = [w.rsplit("/", 1)[0] for w in line.split()]
            if len(sentence) >= 4:
                ids = tok.encode(" ".join(sentence)).ids
                out.append(f"{name}\t{len(ids)}\t{digest(ids)}\n")
                break
    open("brown.tsv", "w").write("".join(out))


def options():
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(letters + letters.upper() + "éÉ0123456789.,!<>[]") + ["##" + c for c in letters + "éÉ"]
    vocab += "new york the The new-york un ##able ##ab ##aff email url <url> 東 京 ##ing".split() + ["new york"]
    vocab = {w: i for i, w in enumerate(vocab)}
    wordpiece = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 12, "vocab": vocab}
    wordlevel = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocab}

    def added(content, id, **kw):
        return dict({"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}, **kw)

    def bert(lower=True, accents=None, clean=True, chinese=True):
        return {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese, "strip_accents": accents, "lowercase": lower}

    specials = [added(w, vocab[w], special=True) for w in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")]
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 2}}, {"SpecialToken": {"id": "[SEP]", "type_id": 3}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}}
    processing = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    truncate = lambda n, side: {"direction": side, "max_length": n, "strategy": "LongestFirst", "stride": 0}
    pad = lambda s, side, m=None: {"strategy": s, "direction": side, "pad_to_multiple_of": m, "pad_id": 4, "pad_type_id": 9, "pad_token": "[MASK]"}
    more = [added("<email>", 900), added("<url>", vocab["<url>"]), added("<ur", 901)]
    strips = [added("<email>", 900, lstrip=True), added("<url>", 901, rstrip=True), added("york", 902, single_word=True), added("[MASK]", 4, lstrip=True, rstrip=True)]
    normal = [added("New York", 900, normalized=True), added("É", 901, normalized=True, single_word=True), added("the", 902)]
    configs = [
        (wordpiece, bert(), specials, template, None, None),
        (wordpiece, bert(False), specials + more, processing, truncate(8, "Right"), pad({"Fixed": 8}, "Right")),
        (wordpiece, bert(False, True), specials + strips, None, truncate(5, "Left"), pad("BatchLongest", "Left", 4)),
        (wordpiece, bert(True, False), normal, template, truncate(6, "Right"), pad({"Fixed": 10}, "Left", 8)),
        (wordpiece, bert(True, None, False, False), more, None, None, None),
        (wordpiece, None, more, None, None, pad("BatchLongest", "Right")),
        (wordpiece, {"type": "Lowercase"}, normal + strips, None, None, None),
        (wordlevel, bert(), specials[:2] + more, None, None, None),
        (wordlevel, bert(False, False), strips, processing, truncate(4, "Right"), pad("BatchLongest", "Right")),
        (wordlevel, bert(), normal, template, truncate(4, "Right"), None),
    ]
    atoms = ["new york", "New York", "NEW  YORK", "york", "yorkie", "The", "the", "unaffable", "abable", "<email>", "<url>", "<ur", "<URL>", "[CLS]", "[MASK]", "É", "é", "e\u0301", "éa", "東京", "x_york", "\u0130", ".", "!", "\t", "\n", "  ", "\u3000", "\x00", "\u200b", "abcdefghijkl", "abcdefghijklm", "ééééééééééééé", "ß", "42"]
    lines = []
    for model, normalizer, tokens, post, truncation, padding in configs:
        spec = {"version": "1.0", "truncation": truncation, "padding": padding, "added_tokens": tokens, "normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": post, "decoder": None, "model": model}
        tok = Tokenizer.from_str(json.dumps(spec))
        texts = ["".join(rnd.choice(atoms) + rnd.choice(["", " ", " "]) for _ in range(rnd.randint(0, 9))) for _ in range(60)]
        batches = [tok.encode_batch(texts[i : i + 4]) for i in range(0, 60, 4)]
        rows = [[[e.ids, e.type_ids, e.attention_mask] for e in b] for b in batches]
        lines.append(json.dumps({"tokenizer": spec, "texts": texts, "batches": rows}, ensure_ascii=False, separators=(",", ":")) + "\n")
    write("options.jsonl.zst", lines)


def codepoints(tok):
    norm, pre = tok.normalizer, tok.pre_tokenizer
    out = []
    for block in range(0, 0x110000, 256):
        h = hashlib.sha256()
        for c in range(block, block + 256):
            if 0xD800 <= c < 0xE000:
                continue
            s = "x" + chr(c) + "x"
            pieces = "\x1e".join(p for p, _ in pre.pre_tokenize_str(s))
            h.update((norm.normalize_str(s) + "\x1f" + pieces + "\n").encode())
        out.append(h.hexdigest()[:8] + "\n")
    open("codepoints.txt", "w").write("".join(out))


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, doc, points):
    rs = ranges(points)
    r16 = [r for r in rs if r[1] < 0x10000]
    r32 = [r for r in rs if r[1] >= 0x10000]
    text = "".join("// " + l + "\n" for l in doc) + f"var {name} = &unicode.RangeTable{{\n"
    for field, part in (("R16", r16), ("R32", r32)):
        if not part:
            continue
        text += f"\t{field}: []unicode.Range{field[1:]}{{\n"
        for i in range(0, len(part), 4):
            text += "\t\t" + ", ".join(f"{{0x{a:04x}, 0x{b:04x}, 1}}" for a, b in part[i : i + 4]) + ",\n"
        text += "\t},\n"
    latin = sum(1 for r in r16 if r[1] <= 0xFF)
    if latin:
        text += f"\tLatinOffset: {latin},\n"
    return text + "}\n"


def tables():
    B = normalizers.BertNormalizer
    clean, strip, nfd = B(True, False, False, False), B(False, False, True, False), normalizers.NFD()
    pre = pre_tokenizers.BertPreTokenizer()
    dropped, marks, punct, late = [], [], [], []
    for c in CODEPOINTS:
        s = "x" + chr(c) + "x"
        if clean.normalize_str(s) == "xx":
            dropped.append(c)
        if strip.normalize_str(s) == "xx":
            marks.append(c)
        if len(pre.pre_tokenize_str(s)) == 3:
            punct.append(c)
        u = chr(c)
        ccc = unicodedata.combining(u)
        below = "\u0334" if ccc != 1 else ""
        if unicodedata.category(u) == "Cn":
            late.append(c)
        elif ccc > 1 and nfd.normalize_str(u + below) == u + below or ccc == 1 and nfd.normalize_str("\u0301" + u) == "\u0301" + u:
            late.append(c)
        elif ccc == 0 and unicodedata.normalize("NFD", u) != u and nfd.normalize_str(u) == u:
            late.append(c)
    text = "// Code generated by testdata/tokenize/gen.py; DO NOT EDIT.\n\npackage tokenize\n\nimport \"unicode\"\n\n"
    text += table("dropped", ["dropped holds the characters that clean_text removes: NUL, U+FFFD, control, format and private use characters."], dropped)
    text += "\n" + table("marks", ["marks holds the characters that strip_accents removes: the nonspacing marks of the reference's Unicode version."], marks)
    text += "\n" + table("punctuation", ["punctuation holds the characters that the BERT pre-tokenizer makes pieces of their own: ASCII punctuation and", "symbols, and the punctuation of the reference's Unicode version."], punct)
    text += "\n" + table("late", ["late holds the characters that the reference's decomposition does not know: they have no decomposition and no", "combining class there. Unassigned ones are included, so that a newer Unicode version here changes nothing."], late)
    open("../../internal/tokenize/tables.go", "w").write(text)


def main():
    source = open(sys.argv[1], "rb").read()
    tok = Tokenizer.from_str(source.decode())
    tok.no_truncation()
    tok.no_padding()
    open("tokenizer.json.zst", "wb").write(zstandard.ZstdCompressor(level=19, write_checksum=True).compress(source))
    tables()
    codepoints(tok)
    wordpiece(tok)
    options()
    brown(tok, sys.argv[2])


main()
