//! What control planes and their watchers look at: subscriptions, ADS, secrets.

schema! {
    /// `listener_manager.lds.`
    SubscriptionStat {
        shared {
            counter InitFetchTimeout "init_fetch_timeout",
            counter UpdateAttempt "update_attempt",
            counter UpdateFailure "update_failure",
            counter UpdateRejected "update_rejected",
            counter UpdateSuccess "update_success",
            gauge UpdateTime "update_time",
            gauge Version "version",
        }
        histograms {
            histogram UpdateDuration "update_duration",
        }
        texts {
            text VersionText "version_text",
        }
    }
}

schema! {
    /// `cluster_manager.cds.`
    CdsStat {
        shared {
            counter InitFetchTimeout "init_fetch_timeout",
            counter UpdateAttempt "update_attempt",
            counter UpdateFailure "update_failure",
            counter UpdateRejected "update_rejected",
            counter UpdateSuccess "update_success",
            gauge UpdateTime "update_time",
            gauge Version "version",
            counter ConfigReload "config_reload",
            gauge ConfigReloadTimeMs "config_reload_time_ms",
        }
        histograms {
            histogram UpdateDuration "update_duration",
        }
        texts {
            text VersionText "version_text",
        }
    }
}

schema! {
    /// `http.<stat_prefix>.rds.<route>.`
    RdsStat {
        shared {
            counter InitFetchTimeout "init_fetch_timeout",
            counter UpdateAttempt "update_attempt",
            counter UpdateFailure "update_failure",
            counter UpdateRejected "update_rejected",
            counter UpdateSuccess "update_success",
            gauge UpdateTime "update_time",
            gauge Version "version",
            counter UpdateEmpty "update_empty",
            counter ConfigReload "config_reload",
            gauge ConfigReloadTimeMs "config_reload_time_ms",
        }
        histograms {
            histogram UpdateDuration "update_duration",
        }
        texts {
            text VersionText "version_text",
        }
    }
}

schema! {
    /// `extension_config_discovery.http_filter.<filter>.`
    EcdsStat {
        shared {
            counter InitFetchTimeout "init_fetch_timeout",
            counter UpdateAttempt "update_attempt",
            counter UpdateFailure "update_failure",
            counter UpdateRejected "update_rejected",
            counter UpdateSuccess "update_success",
            gauge UpdateTime "update_time",
            gauge Version "version",
            counter ConfigConflict "config_conflict",
            counter ConfigFail "config_fail",
            counter ConfigReload "config_reload",
        }
        histograms {
            histogram UpdateDuration "update_duration",
        }
        texts {
            text VersionText "version_text",
        }
    }
}

schema! {
    /// `http.<stat_prefix>.rds.vhds.<route>.`
    VhdsStat {
        shared {
            counter InitFetchTimeout "init_fetch_timeout",
            counter UpdateAttempt "update_attempt",
            counter UpdateFailure "update_failure",
            counter UpdateRejected "update_rejected",
            counter UpdateSuccess "update_success",
            gauge UpdateTime "update_time",
            gauge Version "version",
            counter UpdateEmpty "update_empty",
            counter ConfigReload "config_reload",
        }
        histograms {
            histogram UpdateDuration "update_duration",
        }
        texts {
            text VersionText "version_text",
        }
    }
}

schema! {
    /// `http.<stat_prefix>.scoped_rds.<name>.`
    SrdsStat {
        shared {
            counter InitFetchTimeout "init_fetch_timeout",
            counter UpdateAttempt "update_attempt",
            counter UpdateFailure "update_failure",
            counter UpdateRejected "update_rejected",
            counter UpdateSuccess "update_success",
            gauge UpdateTime "update_time",
            gauge Version "version",
            counter UpdateEmpty "update_empty",
            counter ConfigReload "config_reload",
            gauge ConfigReloadTimeMs "config_reload_time_ms",
            gauge AllScopes "all_scopes",
            gauge ActiveScopes "active_scopes",
            gauge OnDemandScopes "on_demand_scopes",
        }
        histograms {
            histogram UpdateDuration "update_duration",
        }
        texts {
            text VersionText "version_text",
        }
    }
}

schema! {
    /// `sds.<secret>.`
    SdsStat {
        shared {
            counter InitFetchTimeout "init_fetch_timeout",
            counter UpdateAttempt "update_attempt",
            counter UpdateFailure "update_failure",
            counter UpdateRejected "update_rejected",
            counter UpdateSuccess "update_success",
            gauge UpdateTime "update_time",
            gauge Version "version",
            counter KeyRotationFailed "key_rotation_failed",
        }
        histograms {
            histogram UpdateDuration "update_duration",
        }
        texts {
            text VersionText "version_text",
        }
    }
}

schema! {
    /// `control_plane.`: the ADS stream.
    ControlPlaneStat {
        shared {
            gauge ConnectedState "connected_state",
            gauge PendingRequests "pending_requests",
            counter RateLimitEnforced "rate_limit_enforced",
        }
        texts {
            text Identifier "identifier",
        }
    }
}

schema! {
    /// `control_plane.`, what Envoy has not: seconds since an update from any source was last accepted.
    ConfigStat {
        shared {
            lazy_gauge ConfigAgeSeconds "config_age_seconds",
        }
    }
}

schema! {
    /// `tracing.zipkin.`
    ZipkinStat {
        shared {
            counter ReportsDropped "reports_dropped",
            counter ReportsFailed "reports_failed",
            counter ReportsSent "reports_sent",
            counter ReportsSkippedNoCluster "reports_skipped_no_cluster",
            counter SpansSent "spans_sent",
            counter TimerFlushed "timer_flushed",
        }
    }
}

schema! {
    /// `tracing.opentelemetry.`
    OpenTelemetryStat {
        shared {
            counter SpansDropped "spans_dropped",
            counter SpansSent "spans_sent",
            counter TimerFlushed "timer_flushed",
        }
    }
}

schema! {
    /// `access_logs.grpc_access_log.`
    GrpcAccessLogStat {
        shared {
            counter GrpcEntriesFlushFailed "grpc_entries_flush_failed",
            counter GrpcEntriesFlushed "grpc_entries_flushed",
            counter LogsDropped "logs_dropped",
            counter LogsWritten "logs_written",
        }
    }
}
