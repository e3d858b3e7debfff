//! `http.<stat_prefix>.`: Envoy's documentation, "HTTP connection manager, statistics", and the router's.

schema! {
    /// `http.<stat_prefix>.`, of every connection manager with this prefix.
    HttpStat {
        per_thread {
            // A request's, in one block.
            counter DownstreamRqTotal "downstream_rq_total",
            gauge DownstreamRqActive "downstream_rq_active",
            counter DownstreamRqCompleted "downstream_rq_completed",
            counter DownstreamRq2xx "downstream_rq_2xx",
            counter DownstreamRqHttp1Total "downstream_rq_http1_total",
            counter DownstreamRqHttp2Total "downstream_rq_http2_total",
            counter RqTotal "rq_total",
            counter DownstreamCxRxBytesTotal "downstream_cx_rx_bytes_total",
            counter DownstreamCxTxBytesTotal "downstream_cx_tx_bytes_total",
            gauge DownstreamCxRxBytesBuffered "downstream_cx_rx_bytes_buffered",
            gauge DownstreamCxTxBytesBuffered "downstream_cx_tx_bytes_buffered",
            counter DownstreamCxTotal "downstream_cx_total",
            gauge DownstreamCxActive "downstream_cx_active",
            counter DownstreamCxHttp1Total "downstream_cx_http1_total",
            gauge DownstreamCxHttp1Active "downstream_cx_http1_active",
            // A connection's, and the other outcomes.
            counter DownstreamCxHttp2Total "downstream_cx_http2_total",
            gauge DownstreamCxHttp2Active "downstream_cx_http2_active",
            counter DownstreamCxSslTotal "downstream_cx_ssl_total",
            gauge DownstreamCxSslActive "downstream_cx_ssl_active",
            counter DownstreamCxDestroy "downstream_cx_destroy",
            counter DownstreamCxDestroyLocal "downstream_cx_destroy_local",
            counter DownstreamCxDestroyRemote "downstream_cx_destroy_remote",
            counter DownstreamCxDestroyActiveRq "downstream_cx_destroy_active_rq",
            counter DownstreamCxDestroyLocalActiveRq "downstream_cx_destroy_local_active_rq",
            counter DownstreamCxDestroyRemoteActiveRq "downstream_cx_destroy_remote_active_rq",
            counter DownstreamRq1xx "downstream_rq_1xx",
            counter DownstreamRq3xx "downstream_rq_3xx",
            counter DownstreamRq4xx "downstream_rq_4xx",
            counter DownstreamRq5xx "downstream_rq_5xx",
            counter RqDirectResponse "rq_direct_response",
            counter RqRedirect "rq_redirect",
            counter NoRoute "no_route",
            counter NoCluster "no_cluster",
            counter DownstreamRqRxReset "downstream_rq_rx_reset",
            counter DownstreamRqTxReset "downstream_rq_tx_reset",
            counter DownstreamRqResponseBeforeRqComplete "downstream_rq_response_before_rq_complete",
            gauge DownstreamCxUpgradesActive "downstream_cx_upgrades_active",
            counter DownstreamCxUpgradesTotal "downstream_cx_upgrades_total",
            counter DownstreamFlowControlPausedReadingTotal "downstream_flow_control_paused_reading_total",
            counter DownstreamFlowControlResumedReadingTotal "downstream_flow_control_resumed_reading_total",
            counter DownstreamCxDrainClose "downstream_cx_drain_close",
            counter DownstreamCxIdleTimeout "downstream_cx_idle_timeout",
            counter DownstreamCxDelayedCloseTimeout "downstream_cx_delayed_close_timeout",
            gauge DownstreamCxHttp3Active "downstream_cx_http3_active",
            gauge DownstreamCxHttp1SoftDrain "downstream_cx_http1_soft_drain",
        }
        shared {
            counter DownstreamCxHttp3Total "downstream_cx_http3_total",
            counter DownstreamCxMaxDurationReached "downstream_cx_max_duration_reached",
            counter DownstreamCxMaxRequestsReached "downstream_cx_max_requests_reached",
            counter DownstreamCxOverloadDisableKeepalive "downstream_cx_overload_disable_keepalive",
            counter DownstreamCxProtocolError "downstream_cx_protocol_error",
            counter DownstreamRqFailedPathNormalization "downstream_rq_failed_path_normalization",
            counter DownstreamRqHeaderTimeout "downstream_rq_header_timeout",
            counter DownstreamRqHttp3Total "downstream_rq_http3_total",
            counter DownstreamRqIdleTimeout "downstream_rq_idle_timeout",
            counter DownstreamRqMaxDurationReached "downstream_rq_max_duration_reached",
            counter DownstreamRqNonRelativePath "downstream_rq_non_relative_path",
            counter DownstreamRqOverloadClose "downstream_rq_overload_close",
            counter DownstreamRqRedirectedWithNormalizedPath "downstream_rq_redirected_with_normalized_path",
            counter DownstreamRqRejectedViaIpDetection "downstream_rq_rejected_via_ip_detection",
            counter DownstreamRqTimeout "downstream_rq_timeout",
            counter DownstreamRqTooLarge "downstream_rq_too_large",
            counter DownstreamRqTooManyPrematureResets "downstream_rq_too_many_premature_resets",
            counter DownstreamRqWsOnNonWsRoute "downstream_rq_ws_on_non_ws_route",
            counter PassthroughInternalRedirectBadLocation "passthrough_internal_redirect_bad_location",
            counter PassthroughInternalRedirectNoRoute "passthrough_internal_redirect_no_route",
            counter PassthroughInternalRedirectPredicate "passthrough_internal_redirect_predicate",
            counter PassthroughInternalRedirectTooManyRedirects "passthrough_internal_redirect_too_many_redirects",
            counter PassthroughInternalRedirectUnsafeScheme "passthrough_internal_redirect_unsafe_scheme",
            counter RqOverloadLocalReply "rq_overload_local_reply",
            counter RqResetAfterDownstreamResponseStarted "rq_reset_after_downstream_response_started",
            counter RsTooLarge "rs_too_large",
            counter TracingClientEnabled "tracing.client_enabled",
            counter TracingHealthCheck "tracing.health_check",
            counter TracingNotTraceable "tracing.not_traceable",
            counter TracingRandomSampling "tracing.random_sampling",
            counter TracingServiceForced "tracing.service_forced",
        }
        histograms {
            histogram DownstreamCxLengthMs "downstream_cx_length_ms",
            histogram DownstreamRqTime "downstream_rq_time",
        }
    }
}

schema! {
    /// `listener.<address>.http.<stat_prefix>.`
    ListenerHttpStat {
        per_thread {
            counter DownstreamRqCompleted "downstream_rq_completed",
            counter DownstreamRq1xx "downstream_rq_1xx",
            counter DownstreamRq2xx "downstream_rq_2xx",
            counter DownstreamRq3xx "downstream_rq_3xx",
            counter DownstreamRq4xx "downstream_rq_4xx",
            counter DownstreamRq5xx "downstream_rq_5xx",
        }
    }
}

schema! {
    /// `http.async-client.`: the router as it serves requests that the proxy itself makes.
    AsyncClientStat {
        per_thread {
            counter RqTotal "rq_total",
        }
        shared {
            counter NoCluster "no_cluster",
            counter NoRoute "no_route",
            counter PassthroughInternalRedirectBadLocation "passthrough_internal_redirect_bad_location",
            counter PassthroughInternalRedirectNoRoute "passthrough_internal_redirect_no_route",
            counter PassthroughInternalRedirectPredicate "passthrough_internal_redirect_predicate",
            counter PassthroughInternalRedirectTooManyRedirects "passthrough_internal_redirect_too_many_redirects",
            counter PassthroughInternalRedirectUnsafeScheme "passthrough_internal_redirect_unsafe_scheme",
            counter RqDirectResponse "rq_direct_response",
            counter RqOverloadLocalReply "rq_overload_local_reply",
            counter RqRedirect "rq_redirect",
            counter RqResetAfterDownstreamResponseStarted "rq_reset_after_downstream_response_started",
        }
    }
}
