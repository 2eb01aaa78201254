//! Forecasts: of each series, the mean of its targets, a day after its last record.

use crate::reply::Refusal;
use crate::request::{Object, text};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Default)]
struct Series {
    last: Option<Timestamp>,
    sum: f64,
    count: f64,
}

/// One result for each series, in the order of their names.
pub(super) fn of(records: &[&Object], generation: &str) -> Result<Vec<Value>, Refusal> {
    let mut all: BTreeMap<Option<&str>, Series> = BTreeMap::new();
    for record in records {
        let date = text(record, "date").and_then(|date| date.parse::<Timestamp>().ok());
        let date = date.ok_or_else(|| Refusal::bad("items[].date is no date such as 2026-01-31T00:00:00.000Z"))?;
        let target = record.get("target").and_then(Value::as_f64);
        let target = target.ok_or_else(|| Refusal::bad("items[].target is no number"))?;
        let series = all.entry(text(record, "timeseries_id")).or_default();
        series.last = series.last.max(Some(date));
        series.sum += target;
        series.count += 1.0;
    }
    all.into_iter().map(|(id, series)| forecast(id, &series, generation)).collect()
}

fn forecast(id: Option<&str>, series: &Series, generation: &str) -> Result<Value, Refusal> {
    let day = SignedDuration::from_hours(24);
    let next = series.last.and_then(|last| last.checked_add(day).ok());
    let next = next.ok_or_else(|| Refusal::bad("items[].date is too late"))?;
    let mean = series.sum / series.count;
    let identifier = id.map_or_else(|| json!({}), |id| json!({"timeseries_id": id}));
    Ok(json!({
        "forecast": mean, "ignored": false, "quantiles": [0.1, 0.5, 0.9], "quantilesValues": [mean - 1.0, mean, mean + 1.0],
        "time": next.to_string(), "timeseriesIdentifier": identifier, "generation": generation,
    }))
}
