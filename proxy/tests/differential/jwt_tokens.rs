//! Tokens of the keys in `jwt.yaml`, whose private halves are thrown away. All say the same but for what their names say.

pub const RS256: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiw",
    "iYXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGU",
    "iOiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImx",
    "pc3QiOlsxXX19.IgN7qAFiKqTLVSmzecsAgazIsLaLOujTcRmX9SlrYUDpVq2CUcEdAvGvG9z4E5uLGCSPzVycjug8b0aUleOw3Z",
    "Q487PxPZZ4VguV1UGM7mDi4QFBIHqgqGIB07x-xRTU6RdtncNJKdf_oifI9ywiS-bvSTinJGna0pmOMli2ujXqz2sujpDw1ILaeB",
    "r5xokK-yCDZRTX4UKP4KGDi6h5BNKaSPdPLxQHYGIxogAVndrYp1iP5v7Vk5hPvD9PVfd6Q3Bq8Idi9aOzwiH4Ni2ylK1zvrp2RG",
    "RCT0Z4CwYjsgbU3nIoUglQY-k5xUsf57YeCQNk9YUpf8PTSmwup6CROw",
);
pub const PS256: &str = concat!(
    "eyJhbGciOiJQUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiw",
    "iYXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGU",
    "iOiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImx",
    "pc3QiOlsxXX19.alukmXH-YIz0R6ondmm_MwdN0slW4ISxSBen32-BLiwPBfNb4_Bs0CBfQBOGSup_w7T_PloUV7QmFAyb7PjYQp",
    "Fy5-Ft9F4pdgX_YjsdKn6k6H9LBmqiHtVdmaxgKYC7sypJC6dbn2pczQmTBLFjd4ZXlN0khnvSefr5IcHdXcWG5WT8zcjV5HWqN-",
    "RjSP89ZKt83A_WYCf4ytJn9VDhQkbCXdVJmzYXp_rVCjBRDoHd6Byu0BtsgUO8QscSdO5hJezdvXlsRii8vYihSk-lW3sZ-9OtNj",
    "hDOiMvOKbgggcZlS1XAruts1l9QJjYoUxkeGEzFdVK2I1_mXrzgtPd7A",
);
pub const ES256: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUi",
    "OiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImxp",
    "c3QiOlsxXX19.pNQxQZrFpz-7Fa5HzqbpcAVfq9oFIMGq7PqxQxnwISSy4mULvWZPCca6bp6v2cCxK1f8IWCA3ENpYW9IKNYszQ",
);
pub const ES384: &str = concat!(
    "eyJhbGciOiJFUzM4NCIsImtpZCI6ImVzMzg0In0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0",
    "IiwiYXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2Nv",
    "cGUiOiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIs",
    "Imxpc3QiOlsxXX19.wNRYbsiFk9CvNBzRm3GqVGtdS18MOPH8aS0pGQnuJLAfUvRG9ed27ThVDXKmUgRqZfe6BrmKBHD3ZxfU4_4",
    "nQQtANe0Dx7NgwWbgeiwxbjEK2Gq6d17ftOVP2EWc03pG",
);
pub const EDDSA: &str = concat!(
    "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUi",
    "OiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImxp",
    "c3QiOlsxXX19.BvPwFw_7Gbly4aFMDl4pUy33Pyr2V8utVFqkzR5g7sVJmB5hVDF_1rDaAw2CKv2G13He4IuPxmo77fe-BR43DQ",
);
pub const NO_KID: &str = concat!(
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0IiwiYXVkIjpbImEudGV",
    "zdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUiOiJyZWFkIHdyaXR",
    "lIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImxpc3QiOlsxXX19.xh",
    "tmrJ5put-KbZuD_dkortaYW5jx2-u3j8bpOdugsDP53momeSbAtu9YjHphNAZs_VpqHcRnxuQBVqc0ZDxpAg",
);
pub const EXPIRED: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMDAwMSwic2NvcGUi",
    "OiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImxp",
    "c3QiOlsxXX19.I0B-RHpujLJATq5Wy_wkacVP9wfBsMSSLqjLdmEis39arVV969QWAVyEXr7R0PfthWmpK1U1oDs_qPiHE0jFJA",
);
pub const NOT_YET: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUi",
    "OiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImxp",
    "c3QiOlsxXX0sIm5iZiI6NDEwMjQ0NDAwMH0.7_cI1ARGUMKN094ae191oyBNYVJ7iW2PwslGcz8VAqReKWzHfHIsHwqD2i5X_Kwj",
    "ZafRpLfUj3VxcEn2B6XSgg",
);
pub const OTHER_ISSUER: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL290aGVyLnRlc3QiLCJzdWIiOiJ1c2VyQHRlc3QiLCJh",
    "dWQiOlsiYS50ZXN0IiwiaHR0cHM6Ly9iLnRlc3QvIl0sImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwLCJzY29wZSI6",
    "InJlYWQgd3JpdGUiLCJhZG1pbiI6dHJ1ZSwibGV2ZWwiOjcsInJhdGlvIjoxLjUsIm5lc3RlZCI6eyJrZXkiOiJkZWVwIiwibGlz",
    "dCI6WzFdfX0.bboJCxra_zj2NQnlDm3y6lcISC8-ZmRoTTBkB_yKa6Nl8YLyJ1LgZRrLYZ53t90egrdshfKx7Ekbc7dAkBwkeQ",
);
pub const OTHER_AUDIENCE: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjoiei50ZXN0IiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjQxMDI0NDQ4MDAsInNjb3BlIjoicmVhZCB3cml0ZSIsImFkbWlu",
    "Ijp0cnVlLCJsZXZlbCI6NywicmF0aW8iOjEuNSwibmVzdGVkIjp7ImtleSI6ImRlZXAiLCJsaXN0IjpbMV19fQ.QBC2fzg4d6z6u",
    "JqMsxjXMdQpVif1ZkamUv3vmDvEZU40_J7_MGm0VF6lKkZqE2JPaN_wJN4Rc2QS8XSrYkU9Gg",
);
pub const NO_AUDIENCE: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "aWF0IjoxNzAwMDAwMDAwLCJleHAiOjQxMDI0NDQ4MDAsInNjb3BlIjoicmVhZCB3cml0ZSIsImFkbWluIjp0cnVlLCJsZXZlbCI6",
    "NywicmF0aW8iOjEuNSwibmVzdGVkIjp7ImtleSI6ImRlZXAiLCJsaXN0IjpbMV19fQ.StwjEZ40bnPvsYpUEgNGKyHGLPfXu8iPd",
    "xmSDgMT3g2HaItIxX_f0539GaRtkrX9ilzW0dtX4eJqYSwkYGzTZg",
);
pub const NO_EXPIRY: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsInNjb3BlIjoicmVhZCB3cml0ZSIsImFk",
    "bWluIjp0cnVlLCJsZXZlbCI6NywicmF0aW8iOjEuNSwibmVzdGVkIjp7ImtleSI6ImRlZXAiLCJsaXN0IjpbMV19fQ.ZJJ9KR4YY",
    "uO1AdNorHlLCdCHi2wO0lH2lkg73FYcxEJTJG0cep1-FL1LQ1lwDfhamPb9j4ofdJrqZG7b-ERoQA",
);
pub const UNKNOWN_KID: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6Im5vYm9keSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN",
    "0IiwiYXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2N",
    "vcGUiOiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCI",
    "sImxpc3QiOlsxXX19.OYGnQ5kgYKalIz1tliS2rQpskPz7LWD0pK5UJ4VwxQrHA72_qk79I9oDKCK8_qfqd4RV0_cqnpPcYoaAkz",
    "u5qg",
);
pub const UNSIGNED: &str = concat!(
    "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0IiwiYXVkIjpbImEudGVz",
    "dCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUiOiJyZWFkIHdyaXRl",
    "IiwiYWRtaW4iOnRydWUsImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImxpc3QiOlsxXX19.eHg",
);
pub const NO_ISSUER: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJzdWIiOiJ1c2VyQHRlc3QiLCJhdWQiOlsiYS50ZXN0IiwiaHR0cHM6Ly9iLnRl",
    "c3QvIl0sImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwLCJzY29wZSI6InJlYWQgd3JpdGUiLCJhZG1pbiI6dHJ1ZSwi",
    "bGV2ZWwiOjcsInJhdGlvIjoxLjUsIm5lc3RlZCI6eyJrZXkiOiJkZWVwIiwibGlzdCI6WzFdfX0.M-ZQbC3BtlvSTAV1gGjzaA4w",
    "DLB9DexHKu3xN-IkV2aZBXf1ZIBVVWZ8mtVKz6lv86YjS_GTKyVq0wu2mbbWSg",
);
pub const OTHER_SUBJECT: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoibm9ib2R5QHRlc3Qi",
    "LCJhdWQiOlsiYS50ZXN0IiwiaHR0cHM6Ly9iLnRlc3QvIl0sImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwLCJzY29w",
    "ZSI6InJlYWQgd3JpdGUiLCJhZG1pbiI6dHJ1ZSwibGV2ZWwiOjcsInJhdGlvIjoxLjUsIm5lc3RlZCI6eyJrZXkiOiJkZWVwIiwi",
    "bGlzdCI6WzFdfX0.ZR-mb0uah2TofTWpD1fZx0EKUUopZJceMwvPNPhToXULX6T2nTFTPasZQxEzE2kQG-WAMMAULERcgmOAJvyn",
    "rQ",
);
pub const BAD_EXP: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6InNvb24iLCJzY29wZSI6InJl",
    "YWQgd3JpdGUiLCJhZG1pbiI6dHJ1ZSwibGV2ZWwiOjcsInJhdGlvIjoxLjUsIm5lc3RlZCI6eyJrZXkiOiJkZWVwIiwibGlzdCI6",
    "WzFdfX0.74lL50qTaOrUwMxUtE3FOj_8EYaOPr-x-FqYNHTZvxSbbT5WjkdLeOu6L6X_8DwFpdhxM_G9V9oLTvvMcOO5_g",
);
pub const BAD_AUD: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjo3LCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUiOiJyZWFkIHdyaXRlIiwiYWRtaW4iOnRydWUs",
    "ImxldmVsIjo3LCJyYXRpbyI6MS41LCJuZXN0ZWQiOnsia2V5IjoiZGVlcCIsImxpc3QiOlsxXX19.k0EjFCagKcceU8J2m56fnGp",
    "UF--Fgf9fVMNxl-w_F1m-qJJRz_osYdak1CntPELnXxkzCbMi6NUuT9S4fo-R1w",
);
pub const FORGED: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoidXNlckB0ZXN0Iiwi",
    "YXVkIjpbImEudGVzdCIsImh0dHBzOi8vYi50ZXN0LyJdLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUi",
    "OiJyZWFkIHdyaXRlIiwiYWRtaW4iOmZhbHNlLCJsZXZlbCI6NywicmF0aW8iOjEuNSwibmVzdGVkIjp7ImtleSI6ImRlZXAiLCJs",
    "aXN0IjpbMV19fQ.pNQxQZrFpz-7Fa5HzqbpcAVfq9oFIMGq7PqxQxnwISSy4mULvWZPCca6bp6v2cCxK1f8IWCA3ENpYW9IKNYsz",
    "Q",
);
