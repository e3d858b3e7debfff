//! What a cluster counts of final answers, by where the request came from; Envoy's names.

use crate::stats::{ClusterStat, Group};

/// The counters of one origin of requests: all, from inside, from outside, to a canary, or answers that were retried.
pub struct Origin {
    completed: ClusterStat,
    /// 1xx to 5xx.
    classes: [ClusterStat; 5],
    code: ClusterStat,
    pub time: Option<ClusterStat>,
}

macro_rules! origin {
    ($completed:ident $one:ident $two:ident $three:ident $four:ident $five:ident $code:ident $time:expr) => {
        Origin {
            completed: ClusterStat::$completed,
            classes: [
                ClusterStat::$one,
                ClusterStat::$two,
                ClusterStat::$three,
                ClusterStat::$four,
                ClusterStat::$five,
            ],
            code: ClusterStat::$code,
            time: $time,
        }
    };
}

pub static ALL: Origin = origin!(UpstreamRqCompleted UpstreamRq1xx UpstreamRq2xx UpstreamRq3xx UpstreamRq4xx
    UpstreamRq5xx UpstreamRqCode Some(ClusterStat::UpstreamRqTime));
pub static EXTERNAL: Origin = origin!(ExternalUpstreamRqCompleted ExternalUpstreamRq1xx ExternalUpstreamRq2xx
    ExternalUpstreamRq3xx ExternalUpstreamRq4xx ExternalUpstreamRq5xx ExternalUpstreamRqCode
    Some(ClusterStat::ExternalUpstreamRqTime));
pub static INTERNAL: Origin = origin!(InternalUpstreamRqCompleted InternalUpstreamRq1xx InternalUpstreamRq2xx
    InternalUpstreamRq3xx InternalUpstreamRq4xx InternalUpstreamRq5xx InternalUpstreamRqCode
    Some(ClusterStat::InternalUpstreamRqTime));
pub static CANARY: Origin = origin!(CanaryUpstreamRqCompleted CanaryUpstreamRq1xx CanaryUpstreamRq2xx
    CanaryUpstreamRq3xx CanaryUpstreamRq4xx CanaryUpstreamRq5xx CanaryUpstreamRqCode
    Some(ClusterStat::CanaryUpstreamRqTime));
pub static RETRY: Origin = origin!(RetryUpstreamRqCompleted RetryUpstreamRq1xx RetryUpstreamRq2xx RetryUpstreamRq3xx
    RetryUpstreamRq4xx RetryUpstreamRq5xx RetryUpstreamRqCode None);

impl Origin {
    pub fn count(&self, stats: &Group<ClusterStat>, code: u16) {
        stats.inc(self.completed);
        stats.inc_code(self.code, code);
        if let Some(class) = self.classes.get(usize::from(code / 100).wrapping_sub(1)) {
            stats.inc(*class);
        }
    }
}
