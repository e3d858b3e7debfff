//! What Telemetry changes of the metrics: some are dropped, some lose labels, some get other or further ones.

use super::{
    LABELS, Metric,
    labels::{Labels, UNKNOWN},
};
use crate::{format::Facts, istio::expression::Expression};

/// `metrics` of `stats.PluginConfig`, parsed.
#[derive(Debug, Default)]
pub struct Overrides {
    pub expressions: Vec<Expression>,
    /// By metric.
    pub metrics: [Changes; Metric::ALL.len()],
}

/// Of one metric.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub dropped: bool,
    /// Standard labels: taken away, or with the value of an expression.
    pub standard: Vec<(&'static str, Option<usize>)>,
    /// Further labels, with their expressions.
    pub further: Vec<(Box<str>, usize)>,
}

impl Overrides {
    /// Says that a label is `expression`'s, or gone where that is `None`. Standard ones keep their place.
    pub fn set(&mut self, metric: usize, label: &str, expression: Option<usize>) {
        let changes = &mut self.metrics[metric];
        match (LABELS.iter().find(|standard| **standard == label), expression) {
            (Some(standard), expression) => {
                changes.standard.retain(|(known, _)| known != standard);
                changes.standard.push((standard, expression));
            }
            (None, Some(expression)) => changes.further.push((label.into(), expression)),
            (None, None) => {}
        }
    }

    pub(super) fn evaluate(&self, facts: &Facts<'_>) -> Vec<Option<String>> {
        self.expressions
            .iter()
            .map(|expression| expression.text(facts))
            .collect()
    }

    /// `None`: the metric is dropped.
    pub(super) fn apply<'l>(
        &'l self,
        metric: Metric,
        labels: &'l Labels,
        values: &'l [Option<String>],
    ) -> Option<Vec<(&'l str, &'l str)>> {
        let changes = &self.metrics[metric as usize];
        if changes.dropped {
            return None;
        }
        let value = |at: usize| values.get(at).and_then(Option::as_deref).unwrap_or(UNKNOWN);
        let standard = labels.0.iter().filter_map(|(name, own)| {
            match changes.standard.iter().find(|(changed, _)| changed == name) {
                None => Some((*name, own.as_str())),
                Some((_, None)) => None,
                Some((_, Some(expression))) => Some((*name, value(*expression))),
            }
        });
        let further = changes.further.iter().map(|(name, at)| (&**name, value(*at)));
        Some(standard.chain(further).collect())
    }
}
