//! What differs between two texts, line by line.

/// How many equal lines are shown around a difference.
const AROUND: usize = 3;
/// Texts with more pairs of lines than this are shown one after the other instead.
const PAIRS: usize = 4_000_000;

/// One line of both texts, or of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    Came(&'a str),
}

/// The lines that are gone (`-`) and that came (`+`), with some equal ones around them; `None`
/// when the texts have the same lines.
pub(crate) fn lines(old: &str, new: &str) -> Option<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    if old == new {
        return None;
    }
    let lines = compare(&old, &new);
    let differs: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !matches!(line, Line::Same(_)))
        .map(|(at, _)| at)
        .collect();
    let is_near = |at: usize| {
        let after = differs.partition_point(|known| *known < at.saturating_sub(AROUND));
        differs.get(after).is_some_and(|known| *known <= at.saturating_add(AROUND))
    };
    let mut out = String::new();
    let mut skipped = false;
    for (at, line) in lines.iter().enumerate() {
        let (mark, text) = match line {
            Line::Same(_) if !is_near(at) => {
                skipped = true;
                continue;
            }
            Line::Same(text) => (' ', text),
            Line::Gone(text) => ('-', text),
            Line::Came(text) => ('+', text),
        };
        if skipped {
            out.push_str("  …\n");
            skipped = false;
        }
        out.push_str(format!("{mark} {text}").trim_end());
        out.push('\n');
    }
    Some(out)
}

/// The lines of both, in their order, with as many as possible the same.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (start, old) = old.split_at(head);
    let new = new.get(head..).unwrap_or_default();
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other);
    let tail = tail.count();
    let (old, end) = old.split_at(old.len().saturating_sub(tail));
    let (new, _) = new.split_at(new.len().saturating_sub(tail));
    let same = |lines: &[&'a str]| lines.iter().map(|line| Line::Same(line)).collect::<Vec<_>>();
    [same(start), middle(old, new), same(end)].concat()
}

/// The longest common subsequence, by the table of all pairs of lines.
fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    if old.len().saturating_mul(new.len()) > PAIRS {
        let gone = old.iter().map(|line| Line::Gone(line));
        return gone.chain(new.iter().map(|line| Line::Came(line))).collect();
    }
    let width = new.len() + 1;
    // longest[i][j]: how many lines the rests of both from i and j on have in common.
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    let at = |longest: &[u32], i: usize, j: usize| {
        longest.get(i * width + j).copied().unwrap_or_default()
    };
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let best = match one == other {
                true => at(&longest, i + 1, j + 1) + 1,
                false => at(&longest, i + 1, j).max(at(&longest, i, j + 1)),
            };
            if let Some(cell) = longest.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    loop {
        match (old.get(i), new.get(j)) {
            (Some(one), Some(other)) if one == other => {
                lines.push(Line::Same(one));
                (i, j) = (i + 1, j + 1);
            }
            (Some(one), other)
                if other.is_none() || at(&longest, i + 1, j) >= at(&longest, i, j + 1) =>
            {
                lines.push(Line::Gone(one));
                i += 1;
            }
            (_, Some(other)) => {
                lines.push(Line::Came(other));
                j += 1;
            }
            (_, None) => return lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(old: &str, new: &str, expected: Expect) {
        expected.assert_eq(&lines(old, new).unwrap_or_else(|| "the same\n".to_owned()));
    }

    #[test]
    fn equal_texts_do_not_differ() {
        check(
            "a\nb\n",
            "a\nb",
            expect![[r#"
            the same
        "#]],
        );
    }

    #[test]
    fn what_is_gone_and_what_came_stand_among_what_stayed() {
        check(
            "a\nb\nc\nd\n",
            "a\nx\nc\nd\ne\n",
            expect![[r#"
              a
            - b
            + x
              c
              d
            + e
        "#]],
        );
        check(
            "",
            "a\n",
            expect![[r#"
            + a
        "#]],
        );
        check(
            "a\n",
            "",
            expect![[r#"
            - a
        "#]],
        );
    }

    #[test]
    fn far_from_a_difference_equal_lines_are_left_out() {
        let old: String = (0..20).map(|n| format!("{n}\n")).collect();
        check(
            &old,
            &old.replace("9\n1", "nine\n1"),
            expect![[r#"
              …
              6
              7
              8
            - 9
            + nine
              10
              11
              12
        "#]],
        );
    }

    #[test]
    fn very_long_texts_are_shown_one_after_the_other() {
        let many = |word: &str| (0..2100).map(|n| format!("{word}{n}\n")).collect::<String>();
        let text = lines(&many("a"), &many("b")).unwrap();
        assert_eq!(text.lines().count(), 4200);
        assert!(text.starts_with("- a0\n") && text.ends_with("+ b2099\n"));
    }
}
