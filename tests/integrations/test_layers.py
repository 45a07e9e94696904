from __future__ import annotations

import pytest
import torch

from featdiv import InputError
from featdiv.integrations import layers


class Encoder(torch.nn.Module):
    """Puts out tokens as a tuple, and has a linear head with a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Identity()
        self.head = torch.nn.Linear(45, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.body(x))}


def watcher(layer="body", names=("effective_rank", "vendi"), **kwargs):
    return layers.LayerWatcher(function="here", layer=layer, names=names, **kwargs)


def test_scores_of_everything_that_went_through(rows, truth):
    model, watch = Encoder(), watcher()
    handle = watch.attach(model)
    for batch in rows.split(64):
        model(batch)
    expected = {name: pytest.approx(truth(rows, name), rel=1e-9) for name in ("effective_rank", "vendi")}
    assert watch.scores() == expected
    assert watch.scores() == expected  # asking changes nothing
    handle.remove()
    model(rows + 7.0)
    assert watch.scores() == expected
    watch.reset()
    assert watch.scores() == {}


def test_a_layer_whose_output_changes_in_place_is_seen_as_it_was(rows, truth):
    watch = watcher(names=("rankme",))
    for batch in rows.split(64):
        output = batch.clone()
        watch.see(output)
        output.relu_()
    assert watch.scores()["rankme"] == pytest.approx(truth(rows, "rankme"), rel=1e-9)


def test_a_flush_leaves_nothing_waiting(rows, truth):
    watch = watcher()
    watch.see(rows[:64])
    assert not watch._states
    watch.flush()
    assert {int(state[0]) for state in watch._states.values()} == {64}
    watch.flush()
    watch.see(rows[64:])
    assert watch.scores()["vendi"] == pytest.approx(truth(rows, "vendi"), rel=1e-9)


@pytest.mark.parametrize("compiled_before", [False, True])
def test_a_compiled_model_is_watched_whenever_it_was_compiled(rows, truth, compiled_before):
    model, watch, compiled = Encoder(), watcher(names=("rankme",)), []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph

    fast = torch.compile(model, backend=backend)
    if compiled_before:
        fast(rows[:25] + 7.0)
    watching = True
    handle = watch.attach(model, when=lambda: watching)
    compiled.clear()
    for batch in rows.split(25):
        fast(batch)
    assert watch.scores() == {"rankme": pytest.approx(truth(rows, "rankme"), rel=1e-6)}
    assert len(compiled) <= 2  # a part of the model for each side of the hook, whatever the number of batches
    watching = False
    fast(rows[:25] + 7.0)
    assert watch.take() == {"rankme": pytest.approx(truth(rows, "rankme"), rel=1e-6)}
    handle.remove()


def test_a_layer_that_nothing_goes_through_is_a_warning(rows):
    watch = watcher()
    watch.attach(Encoder())
    with pytest.warns(UserWarning, match=r"here: nothing went through layer 'body', so that there are no scores of it"):
        assert watch.take() == {}
    watch.see(rows[:1])
    assert watch.take() == {}  # one row, of which no score is defined, is no reason for a warning


def test_gradients_flow_as_before_and_none_is_kept(rows):
    def gradient(watched):
        torch.manual_seed(0)
        model = Encoder()
        watch = watcher()
        if watched:
            watch.attach(model)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(rows)["logits"].float().square().mean().backward()
        watch.flush()
        assert bool(watch._states) == watched
        assert not any(state.requires_grad for state in watch._states.values())
        return model.head.weight.grad

    assert torch.equal(gradient(True), gradient(False))


@pytest.mark.parametrize(
    ("pool", "shape", "expected"),
    [
        ("mean", (100, 5, 45), lambda x: x.double().mean(1)),
        ("mean", (100, 45, 5), lambda x: x.transpose(1, 2).double().mean(1)),
        ("first", (100, 5, 45), lambda x: x[:, 0]),
        (lambda x: x.flatten(0, 1), (100, 5, 45), lambda x: x.flatten(0, 1)),
    ],
)
def test_pooling(rows, truth, pool, shape, expected):
    tokens = rows.reshape(100, 5, 45)
    if shape[1] == 45:
        tokens = tokens.transpose(1, 2)
    images = tokens.reshape(100, 45, 5, 1) if shape[1] == 45 else tokens
    watch = watcher(pool=layers.pooling(pool, function="here"), names=("effective_rank",))
    for batch in images.split(30):
        watch.see(batch)
    assert watch.scores()["effective_rank"] == pytest.approx(truth(expected(tokens), "effective_rank"), rel=1e-9)


@pytest.mark.parametrize("wrap", [lambda x: (x, None), lambda x: [x], lambda x: {"out": x}, lambda x: ((x,), 3)])
def test_the_first_tensor_of_an_output_is_taken(rows, truth, wrap):
    watch = watcher(names=("rankme",))
    watch.see(wrap(rows))
    assert watch.scores()["rankme"] == pytest.approx(truth(rows, "rankme"), rel=1e-9)


def test_one_pass_in_so_many(rows, truth):
    watch = watcher(names=("rankme",), every=3)
    for batch in rows.split(100):
        watch.see(batch)
    seen = torch.cat([rows[:100], rows[300:400]])
    assert watch.scores()["rankme"] == pytest.approx(truth(seen, "rankme"), rel=1e-9)


def test_only_when_asked(rows, truth):
    model, watch = Encoder(), watcher(names=("rankme",))
    watch.attach(model, when=lambda: not model.training)
    model(rows[:100])
    model.eval()
    model(rows[100:])
    assert watch.scores()["rankme"] == pytest.approx(truth(rows[100:], "rankme"), rel=1e-9)


def test_undefined_scores_are_left_out(rows):
    watch = watcher(names=("alpha_req", "effective_rank"))
    watch.see(rows[:, :12])
    assert list(watch.scores()) == ["effective_rank"]
    watch.reset()
    watch.see(rows[:1])
    assert watch.scores() == {}


def test_nonfinite_rows_do_not_stop_a_run_unless_asked(rows, truth):
    broken = rows.clone()
    broken[3] = torch.nan
    watch = watcher(names=("rankme",))
    watch.see(broken)
    kept = torch.cat([rows[:3], rows[4:]])
    assert watch.scores()["rankme"] == pytest.approx(truth(kept, "rankme"), rel=1e-9)
    watch = watcher(names=("rankme",), nonfinite="raise")
    watch.see(broken)
    with pytest.raises(InputError, match="1 rows held NaN"):
        watch.scores()


def test_an_unknown_layer_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"here: layer: the model has no module 'boddy'; .* such as body"):
        watcher("boddy").attach(Encoder())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.zeros(2, 3, 4), r"layer 'body' puts out shape \(2, 3, 4\).*pool= 'mean' or 'first'"),
        ({}, "puts out dict; expected a tensor"),
        ("text", "puts out str; expected a tensor"),
    ],
)
def test_outputs_without_rows_are_refused(output, message):
    with pytest.raises(InputError, match=message):
        watcher().see(output)


def test_another_width_is_refused(rows):
    watch = watcher()
    watch.see(rows)
    with pytest.raises(InputError, match="expected d=45 features; got d=44"):
        watch.see(rows[:, 1:])


def test_wrong_arguments():
    with pytest.raises(InputError, match="here: every: expected a positive number"):
        watcher(every=0)
    with pytest.raises(InputError, match="needs two moments"):
        watcher(names=("frechet_distance",))
    with pytest.raises(InputError, match="here: pool: expected None, a function, or one of mean, first; got 'max'"):
        layers.pooling("max", function="here")
    for names in ("rankme", []):
        with pytest.raises(InputError, match="here: scores: expected a list of names"):
            layers.check_names(names, function="here")
