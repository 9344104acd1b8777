//! Condition expressions, as far as the adapters write them: comparisons, `attribute_exists`,
//! `attribute_not_exists`, `begins_with`, `contains` and `size` of sets of texts, `AND`, `OR`, `NOT`, parentheses; names and values by
//! placeholders only.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::door::Refusal;

pub(super) type Item = Map<String, Value>;

/// The placeholders of a request, and which of them its expressions used.
pub(super) struct Words<'a> {
    names: Option<&'a Map<String, Value>>,
    values: Option<&'a Map<String, Value>>,
    used: RefCell<BTreeSet<String>>,
}

/// A condition, its placeholders replaced.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Or(Vec<Test>),
    And(Vec<Test>),
    Not(Box<Test>),
    Exists(String),
    Missing(String),
    Begins(Operand, Operand),
    Contains(Operand, Operand),
    SizeBelow(Operand, Operand),
    Compare(Operand, String, Operand),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Name(String),
    Value(Value),
}

impl<'a> Words<'a> {
    pub(super) fn of(request: &'a Value) -> Self {
        let map = |name| request.get(name).and_then(Value::as_object);
        Self {
            names: map("ExpressionAttributeNames"),
            values: map("ExpressionAttributeValues"),
            used: RefCell::default(),
        }
    }

    /// The condition that a request has under this member.
    pub(super) fn test(&self, request: &Value, member: &str) -> Result<Option<Test>, Refusal> {
        let Some(text) = request.get(member).and_then(Value::as_str) else { return Ok(None) };
        let mut tokens = tokens(text);
        let test = self.any_of(&mut tokens)?;
        match tokens.pop_front() {
            None => Ok(Some(test)),
            Some(token) => Err(syntax(&token)),
        }
    }

    /// Refuses placeholders that nothing used.
    pub(super) fn all_used(&self) -> Result<(), Refusal> {
        let used = self.used.borrow();
        let given = self.names.into_iter().chain(self.values).flat_map(Map::keys);
        match given.into_iter().find(|word| !used.contains(*word)) {
            None => Ok(()),
            Some(word) => {
                Err(Refusal::invalid(&format!("`{word}` is given and unused in expressions")))
            }
        }
    }

    fn any_of(&self, tokens: &mut VecDeque<String>) -> Result<Test, Refusal> {
        let mut tests = vec![self.all_of(tokens)?];
        while taken(tokens, "OR") {
            tests.push(self.all_of(tokens)?);
        }
        Ok(one_or(tests, Test::Or))
    }

    fn all_of(&self, tokens: &mut VecDeque<String>) -> Result<Test, Refusal> {
        let mut tests = vec![self.one(tokens)?];
        while taken(tokens, "AND") {
            tests.push(self.one(tokens)?);
        }
        Ok(one_or(tests, Test::And))
    }

    fn one(&self, tokens: &mut VecDeque<String>) -> Result<Test, Refusal> {
        if taken(tokens, "NOT") {
            return Ok(Test::Not(Box::new(self.one(tokens)?)));
        }
        if taken(tokens, "(") {
            let test = self.any_of(tokens)?;
            expect(tokens, ")")?;
            return Ok(test);
        }
        for (function, exists) in [("attribute_exists", true), ("attribute_not_exists", false)] {
            if taken(tokens, function) {
                expect(tokens, "(")?;
                let Operand::Name(name) = self.operand(tokens)? else {
                    return Err(syntax(function));
                };
                expect(tokens, ")")?;
                return Ok(if exists { Test::Exists(name) } else { Test::Missing(name) });
            }
        }
        if taken(tokens, "begins_with") {
            expect(tokens, "(")?;
            let text = self.operand(tokens)?;
            expect(tokens, ",")?;
            let start = self.operand(tokens)?;
            expect(tokens, ")")?;
            return Ok(Test::Begins(text, start));
        }
        if taken(tokens, "contains") {
            expect(tokens, "(")?;
            let set = self.operand(tokens)?;
            expect(tokens, ",")?;
            let text = self.operand(tokens)?;
            expect(tokens, ")")?;
            return Ok(Test::Contains(set, text));
        }
        if taken(tokens, "size") {
            expect(tokens, "(")?;
            let set = self.operand(tokens)?;
            expect(tokens, ")")?;
            expect(tokens, "<")?;
            return Ok(Test::SizeBelow(set, self.operand(tokens)?));
        }
        let left = self.operand(tokens)?;
        let Some(operator) = tokens.pop_front() else { return Err(syntax("the end")) };
        if !["=", "<>", "<", "<=", ">", ">="].contains(&operator.as_str()) {
            return Err(syntax(&operator));
        }
        Ok(Test::Compare(left, operator, self.operand(tokens)?))
    }

    pub(super) fn operand(&self, tokens: &mut VecDeque<String>) -> Result<Operand, Refusal> {
        let Some(word) = tokens.pop_front() else { return Err(syntax("the end")) };
        self.used.borrow_mut().insert(word.clone());
        let name = self.names.and_then(|names| names.get(&word)).and_then(Value::as_str);
        let value = self.values.and_then(|values| values.get(&word));
        match (name, value) {
            (Some(name), _) => Ok(Operand::Name(name.to_owned())),
            (None, Some(value)) => Ok(Operand::Value(value.clone())),
            (None, None) if word.starts_with([':', '#']) => {
                Err(Refusal::invalid(&format!("`{word}` stands for nothing that is given")))
            }
            (None, None) => Err(Refusal::invalid(&format!(
                "`{word}` is no placeholder: write `#{word}`, since it may be a reserved word"
            ))),
        }
    }
}

impl Test {
    /// Whether it holds for this item; an item that is not there has no attributes.
    pub(super) fn holds(&self, item: Option<&Item>) -> bool {
        match self {
            Self::Or(tests) => tests.iter().any(|test| test.holds(item)),
            Self::And(tests) => tests.iter().all(|test| test.holds(item)),
            Self::Not(test) => !test.holds(item),
            Self::Exists(name) => item.is_some_and(|item| item.contains_key(name)),
            Self::Missing(name) => !item.is_some_and(|item| item.contains_key(name)),
            Self::Begins(text, start) => {
                let text = text.of(item).and_then(|text| text.get("S")?.as_str());
                let start = start.of(item).and_then(|start| start.get("S")?.as_str());
                text.zip(start).is_some_and(|(text, start)| text.starts_with(start))
            }
            Self::Contains(set, text) => {
                let text = text.of(item).and_then(|text| text.get("S"));
                let set = set.of(item).and_then(|set| set.get("SS")?.as_array());
                set.zip(text).is_some_and(|(set, text)| set.contains(text))
            }
            Self::SizeBelow(set, limit) => {
                let limit = limit.of(item).and_then(|limit| limit.get("N")?.as_str()?.parse().ok());
                let set = set.of(item).and_then(|set| set.get("SS")?.as_array());
                set.zip(limit).is_some_and(|(set, limit): (_, usize)| set.len() < limit)
            }
            Self::Compare(left, operator, right) => {
                let Some((left, right)) = left.of(item).zip(right.of(item)) else { return false };
                if operator == "<>" {
                    return order(left, right) != Some(Ordering::Equal);
                }
                let Some(order) = order(left, right) else { return false };
                match operator.as_str() {
                    "=" => order.is_eq(),
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
        }
    }
}

impl Operand {
    pub(super) fn of<'a>(&'a self, item: Option<&'a Item>) -> Option<&'a Value> {
        match self {
            Self::Name(name) => item?.get(name),
            Self::Value(value) => Some(value),
        }
    }
}

/// The order of two attributes of one type: texts and numbers have one, others are equal or not.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    fn of<'a>(value: &'a Value, kind: &str) -> Option<&'a str> {
        value.get(kind)?.as_str()
    }
    if let (Some(left), Some(right)) = (of(left, "S"), of(right, "S")) {
        return Some(left.cmp(right));
    }
    if let (Some(left), Some(right)) = (of(left, "N"), of(right, "N")) {
        if let (Ok(left), Ok(right)) = (left.parse::<i128>(), right.parse::<i128>()) {
            return Some(left.cmp(&right));
        }
        return left.parse::<f64>().ok()?.partial_cmp(&right.parse::<f64>().ok()?);
    }
    (left == right).then_some(Ordering::Equal)
}

/// The words and signs of an expression.
pub(super) fn tokens(text: &str) -> VecDeque<String> {
    let mut tokens: VecDeque<String> = VecDeque::new();
    let mut word = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '#' | ':' | '_' | '.' | '-') {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            tokens.push_back(std::mem::take(&mut word));
        }
        match (c, tokens.back_mut()) {
            (' ' | '\n', _) => {}
            ('=', Some(sign)) if sign == "<" || sign == ">" => sign.push(c),
            ('>', Some(sign)) if sign == "<" => sign.push(c),
            _ => tokens.push_back(c.to_string()),
        }
    }
    tokens.extend((!word.is_empty()).then_some(word));
    tokens
}

pub(super) fn taken(tokens: &mut VecDeque<String>, wanted: &str) -> bool {
    let is_it = tokens.front().is_some_and(|token| token == wanted);
    if is_it {
        tokens.pop_front();
    }
    is_it
}

pub(super) fn expect(tokens: &mut VecDeque<String>, wanted: &str) -> Result<(), Refusal> {
    if taken(tokens, wanted) { Ok(()) } else { Err(syntax(wanted)) }
}

pub(super) fn syntax(token: &str) -> Refusal {
    Refusal::invalid(&format!("the expression is not one that is played here: at `{token}`"))
}

fn one_or(mut tests: Vec<Test>, many: impl FnOnce(Vec<Test>) -> Test) -> Test {
    match (tests.pop(), tests.is_empty()) {
        (Some(test), true) => test,
        (last, _) => {
            tests.extend(last);
            many(tests)
        }
    }
}
