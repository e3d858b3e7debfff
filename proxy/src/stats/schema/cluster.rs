//! `cluster.<name>.`: Envoy's documentation, "Upstreams, cluster manager, statistics".

schema! {
    /// `cluster.<name>.`, of every cluster.
    ClusterStat {
        per_thread {
            // A request's, in one block.
            counter UpstreamRqTotal "upstream_rq_total",
            gauge UpstreamRqActive "upstream_rq_active",
            counter UpstreamRqCompleted "upstream_rq_completed",
            lazy_counter UpstreamRq2xx "upstream_rq_2xx",
            lazy_counter ExternalUpstreamRqCompleted "external.upstream_rq_completed",
            lazy_counter ExternalUpstreamRq2xx "external.upstream_rq_2xx",
            counter UpstreamCxRxBytesTotal "upstream_cx_rx_bytes_total",
            counter UpstreamCxTxBytesTotal "upstream_cx_tx_bytes_total",
            gauge UpstreamCxRxBytesBuffered "upstream_cx_rx_bytes_buffered",
            gauge UpstreamCxTxBytesBuffered "upstream_cx_tx_bytes_buffered",
            gauge UpstreamCxActive "upstream_cx_active",
            counter UpstreamCxTotal "upstream_cx_total",
            counter UpstreamRqPendingTotal "upstream_rq_pending_total",
            gauge UpstreamRqPendingActive "upstream_rq_pending_active",
            counter UpstreamCxHttp1Total "upstream_cx_http1_total",
            // A connection's, and what goes wrong.
            counter UpstreamCxHttp2Total "upstream_cx_http2_total",
            counter UpstreamCxDestroy "upstream_cx_destroy",
            counter UpstreamCxDestroyLocal "upstream_cx_destroy_local",
            counter UpstreamCxDestroyRemote "upstream_cx_destroy_remote",
            counter UpstreamCxDestroyWithActiveRq "upstream_cx_destroy_with_active_rq",
            counter UpstreamCxDestroyLocalWithActiveRq "upstream_cx_destroy_local_with_active_rq",
            counter UpstreamCxDestroyRemoteWithActiveRq "upstream_cx_destroy_remote_with_active_rq",
            counter UpstreamCxConnectFail "upstream_cx_connect_fail",
            counter UpstreamCxMaxRequests "upstream_cx_max_requests",
            counter UpstreamRqTimeout "upstream_rq_timeout",
            counter UpstreamRqRetry "upstream_rq_retry",
            counter UpstreamRqRetrySuccess "upstream_rq_retry_success",
            counter UpstreamRqRxReset "upstream_rq_rx_reset",
            counter UpstreamRqTxReset "upstream_rq_tx_reset",
            lazy_counter UpstreamRq4xx "upstream_rq_4xx",
            lazy_counter UpstreamRq5xx "upstream_rq_5xx",
            lazy_counter ExternalUpstreamRq4xx "external.upstream_rq_4xx",
            lazy_counter ExternalUpstreamRq5xx "external.upstream_rq_5xx",
            lazy_counter UpstreamRq3xx "upstream_rq_3xx",
            lazy_counter ExternalUpstreamRq3xx "external.upstream_rq_3xx",
            lazy_counter UpstreamRq1xx "upstream_rq_1xx",
            lazy_counter ExternalUpstreamRq1xx "external.upstream_rq_1xx",
            lazy_counter InternalUpstreamRqCompleted "internal.upstream_rq_completed",
            lazy_counter InternalUpstreamRq1xx "internal.upstream_rq_1xx",
            lazy_counter InternalUpstreamRq2xx "internal.upstream_rq_2xx",
            lazy_counter InternalUpstreamRq3xx "internal.upstream_rq_3xx",
            lazy_counter InternalUpstreamRq4xx "internal.upstream_rq_4xx",
            lazy_counter InternalUpstreamRq5xx "internal.upstream_rq_5xx",
            counter LbZoneRoutingAllDirectly "lb_zone_routing_all_directly",
            counter LbZoneRoutingCrossZone "lb_zone_routing_cross_zone",
            counter LbZoneRoutingSampled "lb_zone_routing_sampled",
            counter LbHealthyPanic "lb_healthy_panic",
            counter UpstreamRqCancelled "upstream_rq_cancelled",
            counter UpstreamFlowControlPausedReadingTotal "upstream_flow_control_paused_reading_total",
            counter UpstreamFlowControlResumedReadingTotal "upstream_flow_control_resumed_reading_total",
            counter UpstreamFlowControlBackedUpTotal "upstream_flow_control_backed_up_total",
            counter UpstreamFlowControlDrainedTotal "upstream_flow_control_drained_total",
        }
        shared {
            // What a cluster's mere existence writes, in one block.
            gauge MembershipTotal "membership_total",
            gauge MembershipHealthy "membership_healthy",
            gauge MembershipDegraded "membership_degraded",
            gauge MembershipExcluded "membership_excluded",
            counter MembershipChange "membership_change",
            gauge MaxHostWeight "max_host_weight",
            gauge WarmingState "warming_state",
            counter UpdateAttempt "update_attempt",
            counter UpdateSuccess "update_success",
            counter UpdateNoRebuild "update_no_rebuild",
            counter UpdateEmpty "update_empty",
            counter UpdateFailure "update_failure",
            gauge Version "version",
            counter DefaultTotalMatchCount "default.total_match_count",
            counter AssignmentStale "assignment_stale",
            // The rare ones.
            counter AssignmentTimeoutReceived "assignment_timeout_received",
            counter AssignmentUseCached "assignment_use_cached",
            counter BindErrors "bind_errors",
            gauge CircuitBreakersDefaultCxOpen "circuit_breakers.default.cx_open",
            gauge CircuitBreakersDefaultCxPoolOpen "circuit_breakers.default.cx_pool_open",
            gauge CircuitBreakersDefaultRqOpen "circuit_breakers.default.rq_open",
            gauge CircuitBreakersDefaultRqPendingOpen "circuit_breakers.default.rq_pending_open",
            gauge CircuitBreakersDefaultRqRetryOpen "circuit_breakers.default.rq_retry_open",
            gauge CircuitBreakersHighCxOpen "circuit_breakers.high.cx_open",
            gauge CircuitBreakersHighCxPoolOpen "circuit_breakers.high.cx_pool_open",
            gauge CircuitBreakersHighRqOpen "circuit_breakers.high.rq_open",
            gauge CircuitBreakersHighRqPendingOpen "circuit_breakers.high.rq_pending_open",
            gauge CircuitBreakersHighRqRetryOpen "circuit_breakers.high.rq_retry_open",
            counter LbLocalClusterNotOk "lb_local_cluster_not_ok",
            counter LbRecalculateZoneStructures "lb_recalculate_zone_structures",
            gauge LbSubsetsActive "lb_subsets_active",
            counter LbSubsetsCreated "lb_subsets_created",
            counter LbSubsetsFallback "lb_subsets_fallback",
            counter LbSubsetsFallbackPanic "lb_subsets_fallback_panic",
            counter LbSubsetsRemoved "lb_subsets_removed",
            counter LbSubsetsSelected "lb_subsets_selected",
            counter LbZoneClusterTooSmall "lb_zone_cluster_too_small",
            counter LbZoneNoCapacityLeft "lb_zone_no_capacity_left",
            counter OriginalDstHostInvalid "original_dst_host_invalid",
            counter RetryOrShadowAbandoned "retry_or_shadow_abandoned",
            counter UpstreamCxCloseNotify "upstream_cx_close_notify",
            counter UpstreamCxConnectAttemptsExceeded "upstream_cx_connect_attempts_exceeded",
            counter UpstreamCxConnectTimeout "upstream_cx_connect_timeout",
            counter UpstreamCxConnectWith0Rtt "upstream_cx_connect_with_0_rtt",
            counter UpstreamCxHttp3Total "upstream_cx_http3_total",
            counter UpstreamCxIdleTimeout "upstream_cx_idle_timeout",
            counter UpstreamCxMaxDurationReached "upstream_cx_max_duration_reached",
            counter UpstreamCxNoneHealthy "upstream_cx_none_healthy",
            counter UpstreamCxOverflow "upstream_cx_overflow",
            counter UpstreamCxPoolOverflow "upstream_cx_pool_overflow",
            counter UpstreamCxPreconnectSkipped "upstream_cx_preconnect_skipped",
            counter UpstreamCxProtocolError "upstream_cx_protocol_error",
            counter UpstreamHttp3Broken "upstream_http3_broken",
            counter UpstreamInternalRedirectFailedTotal "upstream_internal_redirect_failed_total",
            counter UpstreamInternalRedirectSucceededTotal "upstream_internal_redirect_succeeded_total",
            gauge UpstreamQueueOverloaded "upstream_queue_overloaded",
            counter UpstreamRq0rtt "upstream_rq_0rtt",
            counter UpstreamRqActiveOverflow "upstream_rq_active_overflow",
            counter UpstreamRqMaintenanceMode "upstream_rq_maintenance_mode",
            counter UpstreamRqMaxDurationReached "upstream_rq_max_duration_reached",
            counter UpstreamRqPendingFailureEject "upstream_rq_pending_failure_eject",
            counter UpstreamRqPendingOverflow "upstream_rq_pending_overflow",
            counter UpstreamRqPerTryIdleTimeout "upstream_rq_per_try_idle_timeout",
            counter UpstreamRqPerTryTimeout "upstream_rq_per_try_timeout",
            counter UpstreamRqRetryBackoffExponential "upstream_rq_retry_backoff_exponential",
            counter UpstreamRqRetryBackoffRatelimited "upstream_rq_retry_backoff_ratelimited",
            counter UpstreamRqRetryLimitExceeded "upstream_rq_retry_limit_exceeded",
            counter UpstreamRqRetryOverflow "upstream_rq_retry_overflow",
            counter UpstreamRqRxResetNoError "upstream_rq_rx_reset_no_error",
            lazy_counter CanaryUpstreamRqCompleted "canary.upstream_rq_completed",
            lazy_counter CanaryUpstreamRq1xx "canary.upstream_rq_1xx",
            lazy_counter CanaryUpstreamRq2xx "canary.upstream_rq_2xx",
            lazy_counter CanaryUpstreamRq3xx "canary.upstream_rq_3xx",
            lazy_counter CanaryUpstreamRq4xx "canary.upstream_rq_4xx",
            lazy_counter CanaryUpstreamRq5xx "canary.upstream_rq_5xx",
            // Answers that were retried.
            lazy_counter RetryUpstreamRqCompleted "retry.upstream_rq_completed",
            lazy_counter RetryUpstreamRq1xx "retry.upstream_rq_1xx",
            lazy_counter RetryUpstreamRq2xx "retry.upstream_rq_2xx",
            lazy_counter RetryUpstreamRq3xx "retry.upstream_rq_3xx",
            lazy_counter RetryUpstreamRq4xx "retry.upstream_rq_4xx",
            lazy_counter RetryUpstreamRq5xx "retry.upstream_rq_5xx",
        }
        histograms {
            histogram UpstreamCxConnectMs "upstream_cx_connect_ms",
            histogram UpstreamCxLengthMs "upstream_cx_length_ms",
            histogram UpstreamRqPerCx "upstream_rq_per_cx",
            lazy_histogram UpstreamRqTime "upstream_rq_time",
            lazy_histogram ExternalUpstreamRqTime "external.upstream_rq_time",
            lazy_histogram InternalUpstreamRqTime "internal.upstream_rq_time",
            lazy_histogram CanaryUpstreamRqTime "canary.upstream_rq_time",
            lazy_histogram UpstreamRqHeadersSize "upstream_rq_headers_size",
            lazy_histogram UpstreamRqHeadersCount "upstream_rq_headers_count",
            lazy_histogram UpstreamRqBodySize "upstream_rq_body_size",
            lazy_histogram UpstreamRsHeadersSize "upstream_rs_headers_size",
            lazy_histogram UpstreamRsHeadersCount "upstream_rs_headers_count",
            lazy_histogram UpstreamRsBodySize "upstream_rs_body_size",
            lazy_histogram UpstreamRqTimeoutBudgetPercentUsed "upstream_rq_timeout_budget_percent_used",
            lazy_histogram UpstreamRqTimeoutBudgetPerTryPercentUsed "upstream_rq_timeout_budget_per_try_percent_used",
        }
        families {
            UpstreamRqCode "upstream_rq_",
            ExternalUpstreamRqCode "external.upstream_rq_",
            InternalUpstreamRqCode "internal.upstream_rq_",
            CanaryUpstreamRqCode "canary.upstream_rq_",
            RetryUpstreamRqCode "retry.upstream_rq_",
            Zone "zone.",
        }
        deferred {
            "upstream_",
            "bind_errors",
            "original_dst_host_invalid",
            "retry_or_shadow_abandoned",
        }
    }
}

schema! {
    /// `cluster.<name>.`, what an EDS cluster has beyond `ClusterStat`: its subscription.
    EdsStat {
        shared {
            counter UpdateRejected "update_rejected",
            counter InitFetchTimeout "init_fetch_timeout",
            gauge UpdateTime "update_time",
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
    /// `cluster.<name>.health_check.`
    HealthCheckStat {
        shared {
            counter Attempt "attempt",
            gauge Degraded "degraded",
            counter Failure "failure",
            gauge Healthy "healthy",
            counter NetworkFailure "network_failure",
            counter PassiveFailure "passive_failure",
            counter Success "success",
            counter VerifyCluster "verify_cluster",
        }
    }
}

schema! {
    /// `cluster.<name>.outlier_detection.`
    OutlierDetectionStat {
        shared {
            gauge EjectionsActive "ejections_active",
            counter EjectionsConsecutive5xx "ejections_consecutive_5xx",
            counter EjectionsDetectedConsecutive5xx "ejections_detected_consecutive_5xx",
            counter EjectionsDetectedConsecutiveGatewayFailure "ejections_detected_consecutive_gateway_failure",
            counter EjectionsDetectedConsecutiveLocalOriginFailure "ejections_detected_consecutive_local_origin_failure",
            counter EjectionsDetectedDegradation "ejections_detected_degradation",
            counter EjectionsDetectedFailurePercentage "ejections_detected_failure_percentage",
            counter EjectionsDetectedLocalOriginFailurePercentage "ejections_detected_local_origin_failure_percentage",
            counter EjectionsDetectedLocalOriginSuccessRate "ejections_detected_local_origin_success_rate",
            counter EjectionsDetectedSuccessRate "ejections_detected_success_rate",
            counter EjectionsEnforcedConsecutive5xx "ejections_enforced_consecutive_5xx",
            counter EjectionsEnforcedConsecutiveGatewayFailure "ejections_enforced_consecutive_gateway_failure",
            counter EjectionsEnforcedConsecutiveLocalOriginFailure "ejections_enforced_consecutive_local_origin_failure",
            counter EjectionsEnforcedFailurePercentage "ejections_enforced_failure_percentage",
            counter EjectionsEnforcedLocalOriginFailurePercentage "ejections_enforced_local_origin_failure_percentage",
            counter EjectionsEnforcedLocalOriginSuccessRate "ejections_enforced_local_origin_success_rate",
            counter EjectionsEnforcedSuccessRate "ejections_enforced_success_rate",
            counter EjectionsEnforcedTotal "ejections_enforced_total",
            counter EjectionsOverflow "ejections_overflow",
            counter EjectionsSuccessRate "ejections_success_rate",
            counter EjectionsTotal "ejections_total",
        }
    }
}

schema! {
    /// `cluster.<name>.circuit_breakers.<priority>.`, with `track_remaining`.
    RemainingStat {
        shared {
            gauge RemainingCx "remaining_cx",
            gauge RemainingCxPools "remaining_cx_pools",
            gauge RemainingPending "remaining_pending",
            gauge RemainingRetries "remaining_retries",
            gauge RemainingRq "remaining_rq",
        }
    }
}
