from policies.errors import unknown_name_text


def test_few_names_are_all_said_and_the_nearest_is_guessed():
    sentence = unknown_name_text("policy", "max_prop", ["pabee", "max_prob"])
    assert sentence == "unknown policy 'max_prop'. Did you mean 'max_prob'? Allowed: max_prob, pabee."
    assert unknown_name_text("policy", "x", []) == "unknown policy 'x'. Allowed: none."


def test_of_many_names_the_nearest_are_said():
    names = [f"net{i}.data.s{j}" for i in range(30) for j in range(3)]
    sentence = unknown_name_text("cell", "net7.data.s9", names)
    assert "Did you mean 'net7.data.s" in sentence
    assert "Allowed: 90 names; the nearest: " in sentence
    assert len(sentence.split("nearest: ")[1].split(", ")) == 5
