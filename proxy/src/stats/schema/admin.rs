//! The admin listener, which the control thread serves: no cell per thread, no `worker_` stats.

schema! {
    /// `listener.admin.`: served by the control thread.
    AdminListenerStat {
        shared {
            gauge DownstreamCxActive "downstream_cx_active",
            counter DownstreamCxDestroy "downstream_cx_destroy",
            counter DownstreamCxOverflow "downstream_cx_overflow",
            counter DownstreamCxOverloadReject "downstream_cx_overload_reject",
            counter DownstreamCxTotal "downstream_cx_total",
            counter DownstreamCxTransportSocketConnectTimeout "downstream_cx_transport_socket_connect_timeout",
            counter DownstreamGlobalCxOverflow "downstream_global_cx_overflow",
            counter DownstreamListenerFilterError "downstream_listener_filter_error",
            counter DownstreamListenerFilterRemoteClose "downstream_listener_filter_remote_close",
            gauge DownstreamPreCxActive "downstream_pre_cx_active",
            counter DownstreamPreCxTimeout "downstream_pre_cx_timeout",
            gauge MainThreadDownstreamCxActive "main_thread.downstream_cx_active",
            counter MainThreadDownstreamCxTotal "main_thread.downstream_cx_total",
            counter NoFilterChainMatch "no_filter_chain_match",
        }
        histograms {
            histogram ConnectionsAcceptedPerSocketEvent "connections_accepted_per_socket_event",
            histogram DownstreamCxLengthMs "downstream_cx_length_ms",
        }
    }
}

schema! {
    /// `http.admin.`: a connection manager without a router.
    AdminHttpStat {
        shared {
            gauge DownstreamCxActive "downstream_cx_active",
            counter DownstreamCxDelayedCloseTimeout "downstream_cx_delayed_close_timeout",
            counter DownstreamCxDestroy "downstream_cx_destroy",
            counter DownstreamCxDestroyActiveRq "downstream_cx_destroy_active_rq",
            counter DownstreamCxDestroyLocal "downstream_cx_destroy_local",
            counter DownstreamCxDestroyLocalActiveRq "downstream_cx_destroy_local_active_rq",
            counter DownstreamCxDestroyRemote "downstream_cx_destroy_remote",
            counter DownstreamCxDestroyRemoteActiveRq "downstream_cx_destroy_remote_active_rq",
            counter DownstreamCxDrainClose "downstream_cx_drain_close",
            gauge DownstreamCxHttp1Active "downstream_cx_http1_active",
            gauge DownstreamCxHttp1SoftDrain "downstream_cx_http1_soft_drain",
            counter DownstreamCxHttp1Total "downstream_cx_http1_total",
            gauge DownstreamCxHttp2Active "downstream_cx_http2_active",
            counter DownstreamCxHttp2Total "downstream_cx_http2_total",
            gauge DownstreamCxHttp3Active "downstream_cx_http3_active",
            counter DownstreamCxHttp3Total "downstream_cx_http3_total",
            counter DownstreamCxIdleTimeout "downstream_cx_idle_timeout",
            counter DownstreamCxMaxDurationReached "downstream_cx_max_duration_reached",
            counter DownstreamCxMaxRequestsReached "downstream_cx_max_requests_reached",
            counter DownstreamCxOverloadDisableKeepalive "downstream_cx_overload_disable_keepalive",
            counter DownstreamCxProtocolError "downstream_cx_protocol_error",
            gauge DownstreamCxRxBytesBuffered "downstream_cx_rx_bytes_buffered",
            counter DownstreamCxRxBytesTotal "downstream_cx_rx_bytes_total",
            gauge DownstreamCxSslActive "downstream_cx_ssl_active",
            counter DownstreamCxSslTotal "downstream_cx_ssl_total",
            counter DownstreamCxTotal "downstream_cx_total",
            gauge DownstreamCxTxBytesBuffered "downstream_cx_tx_bytes_buffered",
            counter DownstreamCxTxBytesTotal "downstream_cx_tx_bytes_total",
            gauge DownstreamCxUpgradesActive "downstream_cx_upgrades_active",
            counter DownstreamCxUpgradesTotal "downstream_cx_upgrades_total",
            counter DownstreamFlowControlPausedReadingTotal "downstream_flow_control_paused_reading_total",
            counter DownstreamFlowControlResumedReadingTotal "downstream_flow_control_resumed_reading_total",
            counter DownstreamRq1xx "downstream_rq_1xx",
            counter DownstreamRq2xx "downstream_rq_2xx",
            counter DownstreamRq3xx "downstream_rq_3xx",
            counter DownstreamRq4xx "downstream_rq_4xx",
            counter DownstreamRq5xx "downstream_rq_5xx",
            gauge DownstreamRqActive "downstream_rq_active",
            counter DownstreamRqCompleted "downstream_rq_completed",
            counter DownstreamRqFailedPathNormalization "downstream_rq_failed_path_normalization",
            counter DownstreamRqHeaderTimeout "downstream_rq_header_timeout",
            counter DownstreamRqHttp1Total "downstream_rq_http1_total",
            counter DownstreamRqHttp2Total "downstream_rq_http2_total",
            counter DownstreamRqHttp3Total "downstream_rq_http3_total",
            counter DownstreamRqIdleTimeout "downstream_rq_idle_timeout",
            counter DownstreamRqMaxDurationReached "downstream_rq_max_duration_reached",
            counter DownstreamRqNonRelativePath "downstream_rq_non_relative_path",
            counter DownstreamRqOverloadClose "downstream_rq_overload_close",
            counter DownstreamRqRedirectedWithNormalizedPath "downstream_rq_redirected_with_normalized_path",
            counter DownstreamRqRejectedViaIpDetection "downstream_rq_rejected_via_ip_detection",
            counter DownstreamRqResponseBeforeRqComplete "downstream_rq_response_before_rq_complete",
            counter DownstreamRqRxReset "downstream_rq_rx_reset",
            counter DownstreamRqTimeout "downstream_rq_timeout",
            counter DownstreamRqTooLarge "downstream_rq_too_large",
            counter DownstreamRqTooManyPrematureResets "downstream_rq_too_many_premature_resets",
            counter DownstreamRqTotal "downstream_rq_total",
            counter DownstreamRqTxReset "downstream_rq_tx_reset",
            counter DownstreamRqWsOnNonWsRoute "downstream_rq_ws_on_non_ws_route",
            counter RsTooLarge "rs_too_large",
        }
        histograms {
            histogram DownstreamCxLengthMs "downstream_cx_length_ms",
            histogram DownstreamRqTime "downstream_rq_time",
        }
    }
}
