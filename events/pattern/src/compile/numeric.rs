//! `{"numeric": [">", 0, "<=", 5]}`

use std::cmp::Ordering;

use super::{CompileError, Json, Matcher, Operand, element};
use crate::matcher::{Bound, Range};

const FORMS: &str = "one comparison such as `[\">\", 0]`, or two such as `[\">\", 0, \"<=\", 5]`";

pub(super) fn read(operand: &Json<'_>, shown: &str) -> Result<Matcher, CompileError> {
    let Json::List(items) = operand else {
        return Err(CompileError::at(shown, FORMS, operand));
    };
    let at = |index| element(shown, index);
    let (lower, upper) = match items.as_slice() {
        [sign, number] => match comparison(sign, &at(0))? {
            Comparison::Equal => return Ok(Matcher::Number(bound(number, &at(1))?)),
            Comparison::Below { inclusive } => {
                (None, Some(Bound { operand: bound(number, &at(1))?, inclusive }))
            }
            Comparison::Above { inclusive } => {
                (Some(Bound { operand: bound(number, &at(1))?, inclusive }), None)
            }
        },
        [low_sign, low, high_sign, high] => {
            let Comparison::Above { inclusive } = comparison(low_sign, &at(0))? else {
                return Err(CompileError::at(
                    &at(0),
                    "`>` or `>=`, with `<` or `<=` to follow",
                    low_sign,
                ));
            };
            let lower = Bound { operand: bound(low, &at(1))?, inclusive };
            let Comparison::Below { inclusive } = comparison(high_sign, &at(2))? else {
                return Err(CompileError::at(&at(2), "`<` or `<=`", high_sign));
            };
            let upper = Bound { operand: bound(high, &at(3))?, inclusive };
            if upper.operand.cmp(&lower.operand) != Ordering::Greater {
                let expected = format!("a number greater than {}", lower.operand);
                return Err(CompileError::at(&at(3), expected, high));
            }
            (Some(lower), Some(upper))
        }
        _ => return Err(CompileError::at(shown, FORMS, format!("{} items", items.len()))),
    };
    Ok(Matcher::Numeric(Range { lower, upper }))
}

enum Comparison {
    Equal,
    Below { inclusive: bool },
    Above { inclusive: bool },
}

fn comparison(value: &Json<'_>, shown: &str) -> Result<Comparison, CompileError> {
    let expected = "one of `=`, `<`, `<=`, `>` and `>=`";
    let Json::Text(sign) = value else {
        return Err(CompileError::at(shown, expected, value));
    };
    match &**sign {
        "=" => Ok(Comparison::Equal),
        "<" => Ok(Comparison::Below { inclusive: false }),
        "<=" => Ok(Comparison::Below { inclusive: true }),
        ">" => Ok(Comparison::Above { inclusive: false }),
        ">=" => Ok(Comparison::Above { inclusive: true }),
        _ => Err(CompileError::at(shown, expected, value)),
    }
}

fn bound(value: &Json<'_>, shown: &str) -> Result<Operand, CompileError> {
    let Json::Number(number) = value else {
        return Err(CompileError::at(shown, "a number", value));
    };
    Ok(Operand::new(*number))
}
