//! `vhost.<virtual host>.vcluster.<name>.` and `vhost.<virtual host>.route.<stat_prefix>.`: the same stats for a virtual
//! cluster (and `other`, for requests that none claims) and for a route that has a `stat_prefix`.

schema! {
    /// Requests that went upstream by one route or one virtual cluster.
    RouteStat {
        per_thread {
            counter UpstreamRqTotal "upstream_rq_total",
            lazy_counter UpstreamRqCompleted "upstream_rq_completed",
            lazy_counter UpstreamRq2xx "upstream_rq_2xx",
            lazy_counter UpstreamRq1xx "upstream_rq_1xx",
            lazy_counter UpstreamRq3xx "upstream_rq_3xx",
            lazy_counter UpstreamRq4xx "upstream_rq_4xx",
            lazy_counter UpstreamRq5xx "upstream_rq_5xx",
            counter UpstreamRqTimeout "upstream_rq_timeout",
            counter UpstreamRqRetry "upstream_rq_retry",
            counter UpstreamRqRetrySuccess "upstream_rq_retry_success",
            counter UpstreamRqRetryLimitExceeded "upstream_rq_retry_limit_exceeded",
            counter UpstreamRqRetryOverflow "upstream_rq_retry_overflow",
        }
        histograms {
            lazy_histogram UpstreamRqTime "upstream_rq_time",
        }
        families {
            UpstreamRqCode "upstream_rq_",
        }
    }
}
