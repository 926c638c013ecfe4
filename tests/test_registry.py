"""Names and what they stand for: found, listed, refused twice, and one sentence for a name that is none."""

import pytest

from lpnet.registry import Registry, nearest, unknown


def animals():
    """Return a registry of three."""
    return Registry("animal", {"tiger": 1, "Tapir": 2, "cow": 3})


def test_it_is_a_dictionary_in_order():
    """What is registered is found and listed, in the order in which it came."""
    registry = animals()
    assert registry.register("ant", 4) == 4 == registry["ant"]
    assert registry.names() == list(registry) == ["tiger", "Tapir", "cow", "ant"] and len(registry) == 4


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tigre", "unknown animal 'tigre', did you mean tiger or Tapir?"),
        ("TAPIR", "unknown animal 'TAPIR', did you mean Tapir or tiger?"),  # capitals are no distance
        ("", "unknown animal '', expected one of tiger, Tapir, cow"),
        ("whale", "unknown animal 'whale', expected one of tiger, Tapir, cow"),
        (["cow"], "unknown animal ['cow'], did you mean cow?"),  # what is no name at all gets the sentence, too
        (None, "unknown animal None, expected one of tiger, Tapir, cow"),
    ],
)
def test_a_name_that_is_none_gets_one_sentence(name, sentence):
    """The error repeats the name and gives the nearest ones, or all."""
    with pytest.raises(ValueError) as error:
        animals()[name]
    assert str(error.value) == sentence


def test_a_long_list_ends():
    """A sentence names forty at most."""
    sentence = str(unknown("word", "x", [f"word{i}" for i in range(50)], "Owner"))
    assert sentence.startswith("Owner: unknown word 'x', ") and sentence.endswith(" word39, ...")


def test_the_most_alike_comes_first():
    """Of several names that look alike, the nearest is first and at most three are given."""
    assert nearest("mlp2", ["mlp", "mlp1", "mlp22", "mlp3", "cow"])[0] == "mlp22"
    assert len(nearest("mlp2", ["mlp", "mlp1", "mlp22", "mlp3", "cow"])) == 3


def test_a_name_is_given_once():
    """The same thing may be registered again; another one under its name is refused, and the first one stays."""
    registry = animals()
    registry.register("cow", 3)
    with pytest.raises(ValueError, match="register: 'cow' is the name of 3"):
        registry.register("cow", 5)
    assert registry["cow"] == 3


@pytest.mark.parametrize("name", ["", " ", "two words", "tab\t", 3, None])
def test_a_name_is_a_text_without_spaces(name):
    """What could not be typed in a command line is refused as a name."""
    with pytest.raises(ValueError, match="register: name must be a text without spaces"):
        animals().register(name, 1)


def test_a_definition_that_runs_again_replaces_the_first():
    """A notebook's cell may be run twice; another function, and any lambda, is no second run."""
    registry = Registry("function")

    def define():
        def f():
            pass

        return f

    registry.register("f", define())
    assert registry.register("f", again := define()) is again is registry["f"]
    with pytest.raises(ValueError, match="is the name of"):
        registry.register("f", animals)
    registry.register("g", lambda: 1)
    with pytest.raises(ValueError, match="is the name of"):
        registry.register("g", lambda: 2)
