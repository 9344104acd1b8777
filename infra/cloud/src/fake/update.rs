//! Update expressions, as far as the adapters write them: `SET` with `+`, `-` and
//! `if_not_exists`, `REMOVE`, and `ADD` and `DELETE` with a set of texts.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::condition::{Item, Operand, Words, expect, syntax, taken, tokens};
use super::door::Refusal;

/// The item that an update makes of one; `old` counts for all that it reads.
pub(super) fn apply(
    words: &Words<'_>,
    text: &str,
    old: Option<&Item>,
    mut item: Item,
) -> Result<Item, Refusal> {
    let mut tokens = tokens(text);
    while let Some(clause) = tokens.pop_front() {
        match clause.as_str() {
            "SET" => loop {
                let name = name(words, &mut tokens)?;
                expect(&mut tokens, "=")?;
                let value = sum(words, &mut tokens, old)?;
                item.insert(name, value);
                if !taken(&mut tokens, ",") {
                    break;
                }
            },
            "REMOVE" => loop {
                item.remove(&name(words, &mut tokens)?);
                if !taken(&mut tokens, ",") {
                    break;
                }
            },
            "ADD" | "DELETE" => {
                let name = name(words, &mut tokens)?;
                let texts = value(words, &mut tokens, old)?;
                let mut set = set_of(item.get(&name));
                for text in set_of(Some(&texts)) {
                    if clause == "ADD" {
                        set.insert(text)
                    } else {
                        set.remove(&text)
                    };
                }
                match set.is_empty() {
                    true => item.remove(&name),
                    false => item.insert(name, json!({ "SS": set })),
                };
            }
            other => return Err(syntax(other)),
        }
    }
    Ok(item)
}

fn set_of(value: Option<&Value>) -> BTreeSet<String> {
    let texts = value.and_then(|value| value.get("SS")?.as_array());
    texts.into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
}

fn name(words: &Words<'_>, tokens: &mut VecDeque<String>) -> Result<String, Refusal> {
    match words.operand(tokens)? {
        Operand::Name(name) => Ok(name),
        Operand::Value(_) => Err(syntax("a value")),
    }
}

fn sum(
    words: &Words<'_>,
    tokens: &mut VecDeque<String>,
    old: Option<&Item>,
) -> Result<Value, Refusal> {
    let left = value(words, tokens, old)?;
    let sign = match () {
        () if taken(tokens, "+") => 1,
        () if taken(tokens, "-") => -1,
        () => return Ok(left),
    };
    let right = value(words, tokens, old)?;
    let number = |value: &Value| value.get("N")?.as_str()?.parse::<i128>().ok();
    match number(&left).zip(number(&right)) {
        Some((left, right)) => Ok(json!({ "N": (left + sign * right).to_string() })),
        None => Err(Refusal::invalid("only whole numbers are added here")),
    }
}

fn value(
    words: &Words<'_>,
    tokens: &mut VecDeque<String>,
    old: Option<&Item>,
) -> Result<Value, Refusal> {
    let missing = || {
        let text = "The provided expression refers to an attribute that does not exist in the item";
        Refusal::invalid(text)
    };
    if taken(tokens, "if_not_exists") {
        expect(tokens, "(")?;
        let present = Operand::Name(name(words, tokens)?);
        expect(tokens, ",")?;
        let other = words.operand(tokens)?;
        expect(tokens, ")")?;
        return present.of(old).or_else(|| other.of(old)).cloned().ok_or_else(missing);
    }
    words.operand(tokens)?.of(old).cloned().ok_or_else(missing)
}
