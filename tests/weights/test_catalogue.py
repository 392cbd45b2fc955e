from pathlib import Path

import pytest

from agentkit.errors import ConfigurationError, UnknownNameError
from agentkit.weights import load_catalogue


def test_the_shipped_catalogue_is_valid_and_pinned():
    catalogue = load_catalogue()
    assert list(catalogue) == ["qwen2.5-coder-0.5b-instruct", "smollm2-135m-instruct", "all-minilm-l6-v2"]
    qwen = catalogue["qwen2.5-coder-0.5b-instruct"]
    assert (qwen.kind, qwen.license, qwen.size) == ("chat", "Apache-2.0", 491_400_064)
    assert len(qwen.files[0].parts) == 6
    minilm = catalogue["all-minilm-l6-v2"]
    assert [file.name for file in minilm.files] == ["model.onnx", "tokenizer.json"]
    assert minilm.dimensions == 384


def test_an_unknown_model_lists_the_known_ones_and_the_nearest():
    catalogue = load_catalogue()
    assert "nope" not in catalogue
    with pytest.raises(UnknownNameError, match="Did you mean 'all-minilm-l6-v2'") as caught:
        catalogue["all-minilm-l6"]
    assert "qwen2.5-coder-0.5b-instruct" in str(caught.value)
    assert "agentkit models list" in str(caught.value)


SHA = "a" * 64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"SHA": "abc"}, "sha256 is not 64 hexadecimal digits"),
        ({"data==1.0": "data>=1.0"}, "is not name==version"),
        ({"file.bin": "../file.bin"}, "is not a plain name"),
        ({"size: 4": "size: 5", "bytes": "size"}, None),
        ({"kind: chat": "kind: music"}, "kind must be chat or embedding"),
        ({"license": "licence"}, "licence"),
        ({"parts:": "pieces:"}, "parts"),
    ],
)
def test_a_wrong_catalogue_says_what_is_wrong(tmp_path: Path, change: dict[str, str], says: str | None):
    text = """
models:
  small:
    kind: chat
    description: d
    license: MIT
    files:
      file.bin:
        size: 4
        sha256: SHA
        parts: [{package: data==1.0, member: data/file.bin}]
"""
    for old, new in change.items():
        text = text.replace(old, new)
    path = tmp_path / "catalogue.yaml"
    path.write_text(text.replace("SHA", SHA))
    if says is None:
        assert load_catalogue(path)["small"].size == 5
        return
    with pytest.raises(ConfigurationError, match=r"Catalogue catalogue\.yaml") as caught:
        load_catalogue(path)
    assert says in str(caught.value)


def test_parts_must_add_up_to_the_file(tmp_path: Path):
    path = tmp_path / "catalogue.yaml"
    part = f"{{package: data==1.0, member: m, size: 3, sha256: {SHA}}}"
    path.write_text(
        f"models: {{m: {{kind: chat, description: d, license: MIT, files: "
        f"{{f.bin: {{size: 7, sha256: {SHA}, parts: [{part}, {part}]}}}}}}}}"
    )
    with pytest.raises(ConfigurationError, match="parts have 6 bytes, size says 7"):
        load_catalogue(path)
