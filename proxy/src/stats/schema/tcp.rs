//! `tcp.<stat_prefix>.`: Envoy's documentation, "TCP proxy, statistics".

schema! {
    /// `tcp.<stat_prefix>.`
    TcpStat {
        per_thread {
            counter DownstreamCxDrainClose "downstream_cx_drain_close",
            counter DownstreamCxNoRoute "downstream_cx_no_route",
            counter DownstreamCxOverloadClose "downstream_cx_overload_close",
            counter DownstreamCxRxBytesTotal "downstream_cx_rx_bytes_total",
            counter DownstreamCxTotal "downstream_cx_total",
            counter DownstreamCxTxBytesTotal "downstream_cx_tx_bytes_total",
            counter DownstreamFlowControlPausedReadingTotal "downstream_flow_control_paused_reading_total",
            counter DownstreamFlowControlResumedReadingTotal "downstream_flow_control_resumed_reading_total",
            counter EarlyDataReceivedCountTotal "early_data_received_count_total",
            counter IdleTimeout "idle_timeout",
            counter MaxDownstreamConnectionDuration "max_downstream_connection_duration",
            counter RouteDelayedTotal "route_delayed_total",
            counter UpstreamFlushTotal "upstream_flush_total",
            gauge DownstreamCxRxBytesBuffered "downstream_cx_rx_bytes_buffered",
            gauge DownstreamCxTxBytesBuffered "downstream_cx_tx_bytes_buffered",
            gauge UpstreamFlushActive "upstream_flush_active",
        }
    }
}
