//! Patterns in table names: `*` and `?` within one name, `**` across folders, `[a-z]`, `[!a-z]`, `{a,b}`.

/// Whether a table name is a pattern rather than a name.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The folder above the first name of a pattern that is itself one: `a/b` of `a/b/2024-*/x.csv`.
pub(crate) fn fixed_folder(pattern: &str) -> &str {
    let first = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    pattern[..first].rfind('/').map_or("", |end| &pattern[..end])
}

/// Whether the pattern matches the whole path. Linear in practice; alternatives are expanded one after the other.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let path: Vec<char> = path.chars().collect();
    alternatives(pattern).iter().any(|one| {
        let one: Vec<char> = one.chars().collect();
        matches_here(&one, &path)
    })
}

/// Expands `{a,b}` once per alternative, innermost last; at most this many, the rest never match.
const ALTERNATIVES_MAX: usize = 256;

fn alternatives(pattern: &str) -> Vec<String> {
    let mut open = vec![pattern.to_string()];
    let mut done = Vec::new();
    while let Some(one) = open.pop() {
        let group = one.find('{').and_then(|start| one[start..].find('}').map(|length| (start, start + length)));
        match group {
            Some((start, end)) if done.len() + open.len() < ALTERNATIVES_MAX => {
                for choice in one[start + 1..end].split(',') {
                    open.push(format!("{}{choice}{}", &one[..start], &one[end + 1..]));
                }
            }
            _ => done.push(one),
        }
    }
    done
}

/// Backtracks only to the last `*` (and the last `**`), so no pattern takes exponential time.
fn matches_here(pattern: &[char], path: &[char]) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut deep: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() {
            match pattern[p] {
                '*' if pattern.get(p + 1) == Some(&'*') => {
                    // `**/` also matches no folder at all.
                    p += if pattern.get(p + 2) == Some(&'/') { 3 } else { 2 };
                    deep = Some((p, s));
                    star = None;
                    continue;
                }
                '*' => {
                    p += 1;
                    star = Some((p, s));
                    continue;
                }
                _ => {
                    if let Some(next) = path.get(s).and_then(|c| matches_one(pattern, p, *c)) {
                        (p, s) = (next, s + 1);
                        continue;
                    }
                }
            }
        } else if s == path.len() {
            return true;
        }
        // A dead end: let the last star take one more character.
        match (star, deep) {
            (Some((after, from)), _) if path.get(from).is_some_and(|c| *c != '/') => {
                star = Some((after, from + 1));
                (p, s) = (after, from + 1);
            }
            (_, Some((after, from))) if from < path.len() => {
                deep = Some((after, from + 1));
                star = None;
                (p, s) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// Matches one character against the pattern's next unit; where the pattern continues, if it does.
fn matches_one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern[at] {
        '?' => (c != '/').then_some(at + 1),
        '[' => {
            let close = pattern[at + 1..].iter().skip(1).position(|x| *x == ']').map(|length| at + 2 + length)?;
            let (negated, set) = match &pattern[at + 1..close] {
                ['!' | '^', rest @ ..] => (true, rest),
                set => (false, set),
            };
            (c != '/' && in_set(set, c) != negated).then_some(close + 1)
        }
        literal => (literal == c).then_some(at + 1),
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set.get(at + 1) == Some(&'-') && at + 2 < set.len() {
            if (set[at]..=set[at + 2]).contains(&c) {
                return true;
            }
            at += 3;
        } else if set[at] == c {
            return true;
        } else {
            at += 1;
        }
    }
    false
}
