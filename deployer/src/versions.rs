//! Versions of documents that several people edit.

use sea_orm::{
    ColumnTrait,
    sea_query::{Expr, ExprTrait as _, SimpleExpr},
};

/// The newest version, before the one that `login` is about to make, whose author is not the author of the one after it. `now` is the newest
/// version and what this said of it; `by` made it.
pub(crate) fn other(now: (i64, i64), by: &str, login: &str) -> i64 {
    let (version, other) = now;
    if by == login { other } else { version }
}

/// The same within a statement about many rows.
pub(crate) fn other_of<C: ColumnTrait>(by: C, (version, other): (C, C), login: &str) -> SimpleExpr {
    Expr::case(Expr::col(by).eq(login), Expr::col(other)).finally(Expr::col(version)).into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_change_of_somebody_else_stays_known() {
        // ann, bob, bob, ann, ann.
        let mut seen = Vec::new();
        let (mut other, mut by) = (0, "ann");
        for (version, login) in [(1, "bob"), (2, "bob"), (3, "ann"), (4, "ann")] {
            other = super::other((version, other), by, login);
            by = login;
            seen.push(other);
        }
        assert_eq!(seen, [1, 1, 3, 3]);
    }
}
