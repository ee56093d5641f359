#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronos/base/clock.h"

namespace chronos::storage::s3 {

struct Credentials {
    std::string access_key;
    std::string secret_key;     ///< secret
    std::string session_token;  ///< secret; "" for long-lived keys

    friend bool operator==(const Credentials&, const Credentials&) = default;
};

using NamedValues = std::vector<std::pair<std::string, std::string>>;

/// What AWS Signature Version 4 covers. Pure: no clock, no network.
struct SigningInput {
    std::string method;
    std::string canonical_uri;    ///< the encoded path as sent
    std::string canonical_query;  ///< as canonical_query_of() makes it, and as sent
    NamedValues headers;          ///< all that are signed, lower-case names; "host" among them
    std::string payload_sha256;   ///< hexadecimal
    UnixTime time = 0;
    std::string region;
    std::string service;
};

/// "key=value&key=value": keys and values encoded, sorted by key, '=' even for empty values.
std::string canonical_query_of(NamedValues query);

/// "20261120T081456Z"
std::string amz_date(UnixTime time);

/// The value of the header `authorization`.
std::string authorization(const SigningInput& input, const Credentials& credentials);

}  // namespace chronos::storage::s3
