//! Probabilities as whole percents, for platforms that split traffic in percents.

use serde_json::json;

use crate::{
    service::ServiceVersionSpec,
    target::{Difference, VersionShare},
};

/// More versions can't have a percent each.
pub(crate) const MOST: usize = 100;

/// Whole percents that add up to 100, each as near its probability as that allows and none below 1: rounded down, and what is left goes to those that lost most,
/// the earlier first. None for no versions, or more than [`MOST`].
pub(crate) fn percents(probabilities: &[f64]) -> Option<Vec<u32>> {
    if probabilities.is_empty() || probabilities.len() > MOST {
        return None;
    }
    let sum: f64 = probabilities.iter().sum();
    let exact: Vec<f64> = probabilities.iter().map(|one| one / sum * 100.0).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 100")]
    let mut whole: Vec<u32> = exact.iter().map(|one| one.clamp(1.0, 100.0).floor() as u32).collect();
    let lost = |whole: &[u32], n: usize| exact[n] - f64::from(whole[n]);
    while let 1.. = 100_u32.saturating_sub(whole.iter().sum()) {
        let n = furthest(whole.len(), |n| lost(&whole, n))?;
        whole[n] += 1;
    }
    // Those that were lifted to 1 took it from the others: from whoever has most above what it should.
    while whole.iter().sum::<u32>() > 100 {
        let n = furthest(whole.len(), |n| if whole[n] > 1 { -lost(&whole, n) } else { f64::NEG_INFINITY })?;
        whole[n] -= 1;
    }
    Some(whole)
}

/// What an update would change of an endpoint and of who answers how many of its queries. `there` is the endpoint's name, if it is there.
pub(crate) fn changes(
    there: Option<&str>,
    endpoint: &str,
    now: &[VersionShare],
    wanted: &[ServiceVersionSpec],
) -> Vec<Difference> {
    let mut changes = Vec::new();
    if there != Some(endpoint) {
        changes.push(Difference { what: "the endpoint".to_owned(), found: json!(there), wanted: json!(endpoint) });
    }
    let percents = percents(&wanted.iter().map(|one| one.probability).collect::<Vec<_>>()).unwrap_or_default();
    let share = |version: &str| now.iter().find(|one| one.version == version).map_or(0.0, |one| one.probability);
    let mut differ = |version: &str, found: f64, wanted: f64| {
        if (found - wanted).abs() > 1e-9 {
            let what = format!("the share of version {version}");
            changes.push(Difference { what, found: json!(found), wanted: json!(wanted) });
        }
    };
    for (version, percent) in wanted.iter().zip(percents) {
        differ(&version.version, share(&version.version), f64::from(percent) / 100.0);
    }
    for gone in now.iter().filter(|one| !wanted.iter().any(|version| version.version == one.version)) {
        differ(&gone.version, gone.probability, 0.0);
    }
    changes
}

/// The first of those with the largest value.
fn furthest(count: usize, value: impl Fn(usize) -> f64) -> Option<usize> {
    (0..count).reduce(|best, n| if value(n) > value(best) { n } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_add_up_and_nobody_is_left_out() {
        let third = 1.0 / 3.0;
        let many = vec![0.01; 100];
        let mut skewed = vec![0.001; 10];
        skewed.push(0.99);
        for (given, wanted) in [
            (&[1.0][..], Some(vec![100])),
            (&[0.5, 0.5], Some(vec![50, 50])),
            (&[third, third, third], Some(vec![34, 33, 33])),
            (&[0.999, 0.001], Some(vec![99, 1])),
            (&[0.005, 0.995], Some(vec![1, 99])),
            (&[0.125, 0.875], Some(vec![13, 87])),
            (&[0.14, 0.86], Some(vec![14, 86])),
            (&many, Some(vec![1; 100])),
            (&skewed, Some([vec![1; 10], vec![90]].concat())),
            (&[], None),
        ] {
            assert_eq!(percents(given), wanted, "{given:?}");
        }
        assert_eq!(percents(&[0.0; 101]), None);
    }

    #[test]
    fn any_split_adds_up() {
        for n in 1..=MOST {
            let given: Vec<f64> = (1..=n).map(|i| (i * i) as f64).collect();
            let sum: f64 = given.iter().sum();
            let whole = percents(&given.iter().map(|one| one / sum).collect::<Vec<_>>()).unwrap();
            assert_eq!(whole.iter().sum::<u32>(), 100);
            assert!(whole.iter().all(|one| *one >= 1));
        }
    }
}
