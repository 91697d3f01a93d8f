"""CTranslate2's Whisper files become MLX's, and files that do not fit are refused."""

from __future__ import annotations

import importlib
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropscribe.models import convert, model_file
from dropscribe.models.store import ModelStore
from model_files import (
    TINY,
    cache_model,
    change_in_place,
    code_of,
    quantise_variables,
    read_safetensors,
    read_weights,
    small_model,
    small_variables,
    write_model_bin,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("models_home")


class TestConversion:
    def test_every_weight_lands_in_its_place(self, tmp_path: Path) -> None:
        source = small_variables()
        dims = convert.convert_to_mlx(small_model(tmp_path / "ct2", source), tmp_path / "mlx")
        assert dims == convert.Dimensions(80, 20, 8, 2, 1, 60, 12, 8, 2, 1)
        config = json.loads((tmp_path / "mlx" / "config.json").read_text())
        assert config.pop("model_type") == "whisper"
        assert convert.Dimensions(**config) == dims

        found = read_safetensors(tmp_path / "mlx" / "weights.safetensors")
        fused = source["decoder/layer_0/attention/linear_1/weight"]
        expected = {
            "encoder.conv1.weight": source["encoder/conv1/weight"].transpose(0, 2, 1),
            "encoder.ln_post.bias": source["encoder/layer_norm/beta"],
            "encoder.blocks.0.attn.query.bias": source["encoder/layer_0/self_attention/linear_0/bias"][:8],
            "encoder.blocks.0.attn.key.weight": source["encoder/layer_0/self_attention/linear_0/weight"][8:16],
            "decoder.blocks.0.attn.value.bias": source["decoder/layer_0/self_attention/linear_0/bias"][16:],
            "decoder.blocks.0.cross_attn.key.weight": fused[:8],
            "decoder.blocks.0.cross_attn.value.weight": fused[8:],
            "decoder.blocks.0.cross_attn.out.weight": source["decoder/layer_0/attention/linear_2/weight"],
            "decoder.blocks.0.cross_attn_ln.weight": source["decoder/layer_0/attention/layer_norm/gamma"],
            "decoder.blocks.0.mlp2.weight": source["decoder/layer_0/ffn/linear_1/weight"],
            "decoder.positional_embedding": source["decoder/position_encodings/encodings"],
            "decoder.token_embedding.weight": source["decoder/embeddings/weight"],
            "alignment_heads": np.array([[0, 1]], np.int32),
        }
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, name)
        assert "encoder.blocks.0.attn.key.bias" not in found

    @pytest.mark.parametrize(("kind", "relative"), [("int8", 1 / 250), ("int16", 1 / 2000), ("bfloat16", 1 / 250)])
    def test_quantised_weights_are_within_their_step(self, tmp_path: Path, kind: str, relative: float) -> None:
        exact = read_weights(small_model(tmp_path / "exact"), tmp_path / "a")
        near = read_weights(small_model(tmp_path / kind, quantise_variables(small_variables(), kind)), tmp_path / "b")
        assert exact.keys() == near.keys()
        for name, value in exact.items():
            # float16 adds half of its own step, one in 2048, at the end.
            room = np.abs(value.astype(np.float32)).max() * (relative + 1 / 2048)
            np.testing.assert_allclose(near[name].astype(np.float32), value, atol=room, err_msg=name)

    def test_heads_that_are_not_given_are_left_to_the_engine(self, tmp_path: Path) -> None:
        assert "alignment_heads" not in read_weights(
            small_model(tmp_path / "m", alignment_heads=None), tmp_path / "x"
        )

    @pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.9999])
    def test_a_file_cut_off_anywhere_is_refused(self, tmp_path: Path, part: float) -> None:
        folder = small_model(tmp_path / "ct2")
        data = (folder / "model.bin").read_bytes()
        (folder / "model.bin").write_bytes(data[: int(len(data) * part)])
        with pytest.raises(model_file.ConversionError):
            convert.convert_to_mlx(folder, tmp_path / "mlx")
        assert not (tmp_path / "mlx").exists()

    def test_what_is_no_whisper_model_is_refused(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "ct2")
        write_model_bin(folder / "model.bin", small_variables(), {}, name="TransformerSpec")
        with pytest.raises(model_file.ConversionError, match="TransformerSpec"):
            convert.convert_to_mlx(folder, tmp_path / "mlx")

    @pytest.mark.parametrize(
        ("name", "shape", "said"),
        [
            ("decoder/layer_0/ffn/linear_0/bias", (31,), r"mlp1\.bias has shape|rows, expected"),
            ("encoder/layer_0/self_attention/linear_0/weight", (32, 8), "rows, expected 24"),
            ("encoder/conv2/weight", (8, 8, 5), "conv2"),
            ("decoder/layer_norm/gamma", None, "has no decoder/layer_norm/gamma"),
        ],
    )
    def test_shapes_that_do_not_fit_are_refused(
        self, tmp_path: Path, name: str, shape: tuple[int, ...] | None, said: str
    ) -> None:
        variables = small_variables()
        del variables[name]
        if shape is not None:
            variables[name] = np.zeros(shape, np.float16)
        with pytest.raises(model_file.ConversionError, match=said):
            convert.convert_to_mlx(small_model(tmp_path / "ct2", variables), tmp_path / "mlx")

    def test_a_separate_output_projection_is_refused_because_mlx_has_none(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "ct2")
        write_model_bin(
            folder / "model.bin", small_variables() | {"decoder/projection/weight": np.ones((60, 8), np.float16)}, {}
        )
        with pytest.raises(model_file.ConversionError, match="projection"):
            convert.convert_to_mlx(folder, tmp_path / "mlx")

    def test_heads_beyond_the_model_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(model_file.ConversionError, match="alignment heads"):
            convert.convert_to_mlx(small_model(tmp_path / "ct2", alignment_heads=[[1, 0]]), tmp_path / "mlx")

    def test_values_beyond_float16_are_refused(self, tmp_path: Path) -> None:
        variables = small_variables()
        variables["decoder/layer_norm/gamma"] = np.full(8, 1e6, np.float32)
        with pytest.raises(model_file.ConversionError, match="beyond float16"):
            convert.convert_to_mlx(small_model(tmp_path / "ct2", variables), tmp_path / "mlx")

    def test_a_folder_of_the_other_layout_is_converted_for_mlx(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "ct2")
        found = ModelStore().resolve_model(str(folder), "mlx", download=False)
        assert (found.name, found.revision, found.origin) == (str(folder), None, "converted")
        assert found.path.is_relative_to(tmp_path / "own")

    def test_a_folder_that_cannot_be_converted_is_unusable(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "ct2")
        (folder / "model.bin").write_bytes(b"nothing")
        assert code_of(str(folder), "mlx") == "model-unusable"

    def test_a_cached_model_is_converted_again_when_it_changes(self, tmp_path: Path) -> None:
        files = {file.name: file.read_bytes() for file in small_model(tmp_path / "one").iterdir()}
        snapshot = cache_model(tmp_path, TINY, files)
        first = ModelStore().resolve_model("tiny.en", "mlx", download=False)
        before = (first.path / "weights.safetensors").read_bytes()

        shutil.rmtree(snapshot.parents[1])
        assert (
            ModelStore().resolve_model("tiny.en", "mlx", download=False) == first
        )  # the source is not needed any more
        weights = first.path / "weights.safetensors"
        change_in_place(weights, keep_time=False)
        assert code_of("tiny.en", "mlx") == "model-missing"  # nothing left to make it from
        weights.write_bytes(before)
        variables = small_variables()
        variables["decoder/layer_norm/gamma"] = np.ones(8, np.float32)
        files["model.bin"] = (small_model(tmp_path / "two", variables) / "model.bin").read_bytes()
        cache_model(tmp_path, TINY, files, commit="b" * 40)
        second = ModelStore().resolve_model("tiny.en", "mlx", download=False)
        assert (second.path, second.revision) == (first.path, "b" * 40)
        assert (second.path / "weights.safetensors").read_bytes() != before


class TestRealWeights:
    """The converted model computes what CTranslate2 computes."""

    def test_encoder_and_decoder_agree_with_ctranslate2(self, tiny_en: Path, tmp_path: Path) -> None:
        mx = pytest.importorskip("mlx.core")
        load = pytest.importorskip("mlx_whisper.load_models").load_model
        utils = importlib.import_module("mlx.utils")
        ctranslate2 = importlib.import_module("ctranslate2")
        convert.convert_to_mlx(tiny_en, tmp_path)
        model = load(str(tmp_path), mx.float32)
        model.update(
            utils.tree_map(lambda x: x.astype(mx.float32) if x.dtype == mx.float16 else x, model.parameters())
        )
        heads = json.loads((tiny_en / "config.json").read_text())["alignment_heads"]
        assert model.alignment_heads.tolist() == heads

        # Two seconds: MLX on a CPU is slow.
        mel = np.random.default_rng(5).uniform(-1, 1, (1, 80, 200)).astype(np.float32)
        theirs = ctranslate2.models.Whisper(str(tiny_en), compute_type="float32")
        encoded = theirs.encode(ctranslate2.StorageView.from_array(mel))
        expected = np.array(encoded)
        model.encoder._positional_embedding = model.encoder._positional_embedding[:100]
        found = np.array(model.encoder(mx.array(mel.transpose(0, 2, 1))))
        # CTranslate2 keeps the encoder's positions in float16 and MLX computes them: a few thousandths.
        assert np.abs(found - expected).max() < 0.005 * np.abs(expected).max()
        assert np.abs(found - expected).mean() < 0.002 * np.abs(expected).mean()

        prompt = [50257, 50362]  # <|startoftranscript|> <|notimestamps|>
        result = theirs.generate(
            encoded,
            [prompt],
            beam_size=1,
            max_length=8,
            return_logits_vocab=True,
            suppress_blank=False,
            suppress_tokens=[],
        )[0]
        logits = np.array(model.logits(mx.array([prompt + result.sequences_ids[0]]), mx.array(expected)))[0]
        for step, theirs_step in enumerate(result.logits[0]):
            np.testing.assert_allclose(logits[len(prompt) - 1 + step], np.array(theirs_step), atol=1e-3)

    def test_8_bit_weights_that_ctranslate2_loads_convert_near_the_exact_ones(
        self, tiny_en: Path, tmp_path: Path
    ) -> None:
        ctranslate2 = importlib.import_module("ctranslate2")
        shutil.copytree(tiny_en, tmp_path / "int8")
        variables = model_file.read_variables(tiny_en / "model.bin")
        del variables["decoder/projection/weight"]
        write_model_bin(
            tmp_path / "int8" / "model.bin",
            quantise_variables(variables, "int8"),
            {
                "decoder/projection/weight": "decoder/embeddings/weight",
                "decoder/projection/weight_scale": "decoder/embeddings/weight_scale",
            },
        )
        ctranslate2.models.Whisper(str(tmp_path / "int8"), compute_type="int8")
        exact = read_weights(tiny_en, tmp_path / "a")
        near = read_weights(tmp_path / "int8", tmp_path / "b")
        for name, value in exact.items():
            full = value.astype(np.float32)
            assert np.abs(near[name] - full).max() <= np.abs(full).max() * (1 / 250 + 1 / 2048), name
