"""The joint model of talker: backbone, names, teacher forcing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.conformance import Case, run_case
from bench.systems.talker.adapters_llm import OPS
from bench.systems.talker.backbone import Backbone, BackboneConfig, Cache
from bench.systems.talker.layout import account, last_frames, patched
from bench.systems.talker.local_dit import DitConfig
from bench.systems.talker.speech_llm import SpeechLLM, SpeechLLMConfig, complete_tied, trainable
from bench.systems.talker.teacher import TeacherBatch, joint_losses

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "talker"
TINY_BACKBONE = BackboneConfig(48, 80, 3, 6, 2, 16, 50, tie_word_embeddings=False)
SMALL = SpeechLLMConfig(
    backbone=TINY_BACKBONE,
    speech_dim=5,
    motion_dim=3,
    speaker_dim=7,
    encoder_layers=1,
    encoder_heads=2,
    dit=DitConfig(48, 48, 2, 2),
)


@pytest.fixture
def net() -> SpeechLLM:
    """A small model, with something in the parameters that begin at 0."""
    torch.manual_seed(0)
    made = SpeechLLM(SMALL)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made.eval()


def clips(lengths: list[tuple[int, int]], text: int = 4) -> TeacherBatch:
    """Clips of (frames of speech, frames of motion); item i has ``text`` + i tokens before its slots."""
    generator = torch.Generator().manual_seed(3)
    slots = [-(-max(pair) // 4) for pair in lengths]
    starts = [text + i for i in range(len(lengths))]
    width = max(s + n for s, n in zip(starts, slots, strict=True))
    ids = torch.randint(0, 50, (len(lengths), width), generator=generator)
    ends = torch.tensor([s + n for s, n in zip(starts, slots, strict=True)])
    most = max(max(pair) for pair in lengths)
    return TeacherBatch(
        input_ids=ids,
        attention_mask=torch.arange(width) < ends[:, None],
        speech_span=torch.stack((torch.tensor(starts), ends), 1),
        speech=torch.randn(len(lengths), most, 5, generator=generator),
        speech_len=torch.tensor([pair[0] for pair in lengths]),
        motion=torch.randn(len(lengths), most, 3, generator=generator),
        motion_len=torch.tensor([pair[1] for pair in lengths]),
        speaker=torch.randn(len(lengths), 7, generator=generator),
    )


@pytest.mark.parametrize("case", ["accounting", "speechllm_train", "speechllm_train_delay"])
def test_goldens(case: str) -> None:
    op = case.removesuffix("_delay")
    result = run_case(Case("talker", case, op, GOLDEN / f"{case}.safetensors"), OPS[op])
    assert result.passed, result.detail


def test_names_and_shapes_are_the_official_ones() -> None:
    manifest = json.loads((ROOT / "bench" / "manifests" / "talker_speech_llm.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        made = SpeechLLM(SpeechLLMConfig())
    ours = {name: list(tensor.shape) for name, tensor in made.state_dict().items()}
    assert ours == {name: tensor["shape"] for name, tensor in manifest["tensors"].items()}
    assert SpeechLLMConfig() == SpeechLLMConfig.from_mapping({})


def test_the_tiny_design_has_the_size_that_it_was_designed_with() -> None:
    backbone = BackboneConfig(160, 426, 4, 4, 2, 40, 64, rope_theta=1e4, tie_word_embeddings=False)
    sizes = DitConfig(160, 160, 3, 4)
    config = SpeechLLMConfig(backbone, 32, 16, 64, encoder_layers=1, encoder_heads=4, dit=sizes)
    with torch.device("meta"):
        made = SpeechLLM(config)
    assert sum(parameter.numel() for parameter in made.parameters()) == 3_986_288  # talker.md, 14


class TestBackbone:
    @pytest.fixture
    def reference(self) -> torch.nn.Module:
        transformers = pytest.importorskip("transformers")
        values = {name: getattr(TINY_BACKBONE, name) for name in TINY_BACKBONE.__slots__ if name != "rope_theta"}
        rotary = {"rope_type": "default", "rope_theta": TINY_BACKBONE.rope_theta}
        torch.manual_seed(1)
        made = transformers.Qwen3Model(transformers.Qwen3Config(**values, rope_parameters=rotary)).eval()
        assert BackboneConfig.from_mapping(made.config.to_dict()) == TINY_BACKBONE
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        found: torch.nn.Module = made
        return found

    @pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-5), (torch.bfloat16, 0.1)])
    def test_states_are_those_of_transformers(
        self, reference: torch.nn.Module, dtype: torch.dtype, atol: float
    ) -> None:
        reference.to(dtype)
        ours = Backbone(TINY_BACKBONE).to(dtype).eval()
        ours.load_state_dict(reference.state_dict(), strict=True)
        x = torch.randn(2, 11, 48).to(dtype)
        mask = torch.arange(11) < torch.tensor([[11], [6]])
        with torch.no_grad():
            wanted = reference(inputs_embeds=x, attention_mask=mask.long()).last_hidden_state
            made = ours(x, mask)
        assert made.dtype == dtype
        torch.testing.assert_close(made[0], wanted[0], rtol=0, atol=atol)
        torch.testing.assert_close(made[1, :6], wanted[1, :6], rtol=0, atol=atol)

    @torch.no_grad()
    def test_one_position_at_a_time_gives_what_the_whole_gives(self) -> None:
        net = Backbone(TINY_BACKBONE).eval()
        x, lengths = torch.randn(3, 12, 48), [7, 3, 5]
        whole = net(x)
        cache = Cache(TINY_BACKBONE, 4, 16, torch.float32, x.device)
        slots = torch.tensor([2, 0, 1])  # row i lies in slot slots[i]
        read = net.prefill(x[:, :7], cache, slots)
        for row, length in enumerate(lengths):
            torch.testing.assert_close(read[row, :length], whole[row, :length], rtol=0, atol=2e-5)
        at = torch.tensor(lengths)
        for _ in range(5):
            token = torch.empty(3, 48)
            positions = torch.empty(3, dtype=torch.long)
            token[slots], positions[slots] = x[torch.arange(3), at], at
            made = net.step(token, cache, positions, int(at.max()) + 1)
            torch.testing.assert_close(made[slots], whole[torch.arange(3), at], rtol=0, atol=2e-5)
            at += 1

    def test_checkpointing_changes_no_gradient(self) -> None:
        net, x = Backbone(TINY_BACKBONE), torch.randn(2, 6, 48)
        found = []
        for net.checkpointing in (False, True):
            net.zero_grad()
            net(x).square().sum().backward()
            found.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
        assert len(found[0]) == len(list(net.parameters())) - 1  # all but the embedding, which was not asked
        for plain, again in zip(*found, strict=True):
            torch.testing.assert_close(plain, again)


class TestAdopt:
    CONFIG = replace(SMALL, backbone=replace(TINY_BACKBONE, tie_word_embeddings=True))

    @pytest.mark.parametrize("absent", ["llm.lm_head.weight", "llm.model.embed_tokens.weight"])
    def test_a_file_with_either_name_of_the_embedding_fills_a_model_without_memory(
        self, tmp_path: Path, absent: str
    ) -> None:
        source = SpeechLLM(self.CONFIG)
        kept = {name: tensor.clone() for name, tensor in source.state_dict().items() if name != absent}
        save_file(kept, tmp_path / "model.safetensors")
        with torch.device("meta"):
            made = SpeechLLM(self.CONFIG)
        made.adopt(load_file(tmp_path / "model.safetensors"))
        assert made.llm.lm_head.weight is made.llm.model.embed_tokens.weight
        for name, tensor in made.state_dict().items():
            assert torch.equal(tensor, source.state_dict()[name]), name
        batch = clips([(9, 8)])
        assert torch.isfinite(made.teacher(batch).hidden).all()

    def test_a_missing_or_an_additional_tensor_is_refused(self) -> None:
        model = SpeechLLM(SMALL)
        state = dict(model.state_dict())
        with pytest.raises(RuntimeError, match="other"):
            model.adopt({**state, "other": torch.zeros(1)})
        state.pop("motion_pad_emb")
        with pytest.raises(RuntimeError, match="motion_pad_emb"):
            model.adopt(state)

    def test_names_are_completed_for_tied_embeddings_only(self) -> None:
        assert len(complete_tied({"llm.lm_head.weight": torch.zeros(1)})) == 2
        assert len(complete_tied({"llm.lm_head.weight": torch.zeros(1)}, tied=False)) == 1

    def test_the_unused_head_is_not_trained_nor_an_embedding_tied_to_it(self) -> None:
        for config, without in ((SMALL, 1), (self.CONFIG, 1)):
            model = SpeechLLM(config)
            assert len(list(trainable(model))) == len(list(model.parameters())) - without


class TestLayout:
    def test_frames_are_cut_into_patches_and_completed_with_zeros(self) -> None:
        frames = torch.arange(1.0, 7).view(1, 6, 1)
        assert patched(frames, 4)[0, :, :, 0].tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]
        assert patched(frames[:, :0], 4).shape == (1, 0, 4, 1)

    def test_the_last_frames_stand_at_the_right(self) -> None:
        frames = torch.arange(1.0, 4)[:, None]
        assert last_frames(frames, 2).tolist() == [[2, 3]]
        assert last_frames(frames, 5).tolist() == [[0, 0, 1, 2, 3]]

    def test_the_sample_of_the_official_code_is_counted_as_it_was(self) -> None:
        found = account(125, 125, 0.5, patch_size=4, delay=0)  # its output has 33 patches: 3 known, 30 made
        assert (found.prefix_patches, found.total_patches, found.max_new_patches) == (3, 32, 44)

    def test_a_prefix_is_never_longer_than_its_reference_nor_below_zero(self) -> None:
        assert account(40, 33, 9.9, patch_size=4, delay=0).prefix_frames == 32
        assert account(40, 33, -1, patch_size=4, delay=0).prefix_frames == 0


class TestTeacher:
    def test_an_item_in_a_batch_gives_what_it_gives_alone(self, net: SpeechLLM) -> None:
        lengths = [(22, 20), (13, 0), (16, 16)]
        batch = clips(lengths)
        both = net.teacher(batch)
        for item, pair in enumerate(lengths):
            end = int(batch.speech_span[item, 1])
            alone = net.teacher(
                TeacherBatch(
                    *(getattr(batch, name)[item : item + 1, :end] for name in ("input_ids", "attention_mask")),
                    batch.speech_span[item : item + 1],
                    batch.speech[item : item + 1, : max(pair)],
                    batch.speech_len[item : item + 1],
                    batch.motion[item : item + 1, : max(pair)],
                    batch.motion_len[item : item + 1],
                    batch.speaker[item : item + 1],
                )
            )
            torch.testing.assert_close(both.hidden[item, : end + 1], alone.hidden[0], rtol=1e-4, atol=1e-4)
            for mine, whole in ((alone.speech, both.speech), (alone.motion, both.motion)):
                part = whole.select(whole.item == item)
                assert len(part) == len(mine)
                assert torch.equal(part.target, mine.target)
                assert torch.equal(part.cond, mine.cond)
                assert torch.equal(part.global_cond, mine.global_cond)

    def test_a_pair_is_a_patch_the_one_before_it_and_the_state_before_its_slot(self, net: SpeechLLM) -> None:
        batch = clips([(10, 8), (8, 8)])
        out = net.teacher(batch)
        assert out.speech.item.tolist() == [0, 0, 0, 1, 1]
        assert out.speech.patch.tolist() == [0, 1, 2, 0, 1]
        assert out.motion.patch.tolist() == [0, 1, 0, 1]
        # text of 4 tokens behind the task embedding: slot 0 is position 5, predicted at 4
        assert out.speech.position.tolist() == [4, 5, 6, 5, 6]
        assert torch.equal(out.speech.mu[1], out.hidden[0, 5])
        assert torch.equal(out.speech.target[1], batch.speech[0, 4:8].T)
        assert torch.equal(out.speech.cond[1], batch.speech[0, 0:4].T)
        assert not out.speech.cond[0].any()
        assert torch.equal(out.speech.target[2, :, :2], batch.speech[0, 8:10].T)
        assert not out.speech.target[2, :, 2:].any()  # beyond the clip's frames, whatever the batch has there
        assert torch.equal(out.motion.global_cond[2], batch.motion[1, 0])
        assert torch.equal(out.speech.global_cond[4], batch.speaker[1])

    def test_what_stands_beyond_a_length_does_not_matter(self, net: SpeechLLM) -> None:
        batch = clips([(10, 8), (16, 16)])
        other = replace(batch, speech=batch.speech.clone(), motion=batch.motion.clone())
        other.speech[0, 10:], other.motion[0, 8:] = 99.0, 99.0
        one, two = net.teacher(batch), net.teacher(other)
        assert torch.equal(one.hidden, two.hidden)
        assert torch.equal(one.speech.target, two.speech.target)
        assert torch.equal(one.motion.cond, two.motion.cond)

    def test_pairs_can_be_drawn_and_repeated(self, net: SpeechLLM) -> None:
        pairs = net.teacher(clips([(12, 12)])).speech
        assert pairs.select(torch.tensor([2, 0])).repeated(2).patch.tolist() == [2, 2, 0, 0]
        assert len(pairs.select(pairs.patch == 1)) == 1

    def test_a_batch_without_motion_has_no_loss_there_and_every_part_learns_from_one_with_it(
        self, net: SpeechLLM
    ) -> None:
        out = net.teacher(clips([(12, 0), (9, 0)]))
        losses = joint_losses(net, out, torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
        assert len(out.motion) == 0
        assert losses.motion == 0
        out = net.train().teacher(clips([(12, 12), (9, 0)]))
        total = joint_losses(net, out, torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)).total
        total.backward()
        still = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
        assert still == []
