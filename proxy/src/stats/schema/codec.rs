//! `http1.` and `http2.` (downstream) and the same under `cluster.<name>.`: protocol limits met and frames in flight.

schema! {
    /// `http1.`
    Http1Stat {
        shared {
            counter DroppedHeadersWithUnderscores "dropped_headers_with_underscores",
            counter MetadataNotSupportedError "metadata_not_supported_error",
            counter RequestsRejectedWithUnderscoresInHeaders "requests_rejected_with_underscores_in_headers",
            counter ResponseFlood "response_flood",
        }
    }
}

schema! {
    /// `http2.`; `nghttp2_*` count the connections of the codec that serves them, which is h2 here.
    Http2Stat {
        per_thread {
            gauge StreamsActive "streams_active",
            gauge PendingSendBytes "pending_send_bytes",
            gauge OutboundFramesActive "outbound_frames_active",
            gauge OutboundControlFramesActive "outbound_control_frames_active",
            gauge DeferredStreamClose "deferred_stream_close",
            counter RxReset "rx_reset",
            counter TxReset "tx_reset",
            counter Trailers "trailers",
            counter Nghttp2DownstreamConnections "nghttp2_downstream_connections",
            counter Nghttp2UpstreamConnections "nghttp2_upstream_connections",
            counter GoawaySent "goaway_sent",
            counter RxMessagingError "rx_messaging_error",
        }
        shared {
            counter CookiesTotalBytesTooLarge "cookies_total_bytes_too_large",
            counter DroppedHeadersWithUnderscores "dropped_headers_with_underscores",
            counter HeaderListSizeTooLarge "header_list_size_too_large",
            counter HeaderOverflow "header_overflow",
            counter HeadersCbNoStream "headers_cb_no_stream",
            counter InboundEmptyFramesFlood "inbound_empty_frames_flood",
            counter InboundPriorityFramesFlood "inbound_priority_frames_flood",
            counter InboundWindowUpdateFramesFlood "inbound_window_update_frames_flood",
            counter KeepaliveTimeout "keepalive_timeout",
            counter MetadataEmptyFrames "metadata_empty_frames",
            counter Oghttp2DownstreamConnections "oghttp2_downstream_connections",
            counter Oghttp2UpstreamConnections "oghttp2_upstream_connections",
            counter OutboundControlFlood "outbound_control_flood",
            counter OutboundFlood "outbound_flood",
            counter RequestsRejectedWithUnderscoresInHeaders "requests_rejected_with_underscores_in_headers",
            counter StreamRefusedErrors "stream_refused_errors",
            counter TxFlushTimeout "tx_flush_timeout",
        }
        histograms {
            histogram CookieCount "cookie_count",
            histogram CookieSize "cookie_size",
            histogram HeaderCount "header_count",
            histogram HeaderListSize "header_list_size",
        }
    }
}
