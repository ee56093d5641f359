#include "storage/s3/signer.h"

#include <algorithm>
#include <ctime>

#include "chronos/base/text.h"
#include "chronos/crypto/signing.h"
#include "chronos/http/client.h"

namespace chronos::storage::s3 {
namespace {

crypto::Sha256Digest hmac(const crypto::Sha256Digest& key, std::string_view message) {
    return crypto::hmac_sha256(key, message);
}

crypto::Sha256Digest signing_key(const SigningInput& input, const Credentials& credentials) {
    const std::string first = "AWS4" + credentials.secret_key;
    const auto date = crypto::hmac_sha256(io::bytes(first), amz_date(input.time).substr(0, 8));
    return hmac(hmac(hmac(date, input.region), input.service), "aws4_request");
}

}  // namespace

std::string amz_date(UnixTime time) {
    const auto value = static_cast<std::time_t>(time);
    std::tm parts{};
    gmtime_r(&value, &parts);
    char text[32];
    text[std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts)] = '\0';
    return text;
}

std::string canonical_query_of(NamedValues query) {
    for (auto& [key, value] : query) {
        key = http::encode_uri(key, false);
        value = http::encode_uri(value, false);
    }
    std::sort(query.begin(), query.end());
    std::string text;
    for (const auto& [key, value] : query) {
        if (!text.empty()) text += '&';
        text += key + '=' + value;
    }
    return text;
}

std::string authorization(const SigningInput& input, const Credentials& credentials) {
    NamedValues headers = input.headers;
    std::sort(headers.begin(), headers.end());
    std::string canonical_headers;
    std::string signed_headers;
    for (const auto& [name, value] : headers) {
        canonical_headers += name + ':' + value + '\n';
        signed_headers += (signed_headers.empty() ? "" : ";") + name;
    }
    const std::string canonical = input.method + '\n' + input.canonical_uri + '\n' +
                                  input.canonical_query + '\n' + canonical_headers + '\n' +
                                  signed_headers + '\n' + input.payload_sha256;
    const std::string date = amz_date(input.time);
    const std::string scope =
        date.substr(0, 8) + '/' + input.region + '/' + input.service + "/aws4_request";
    const std::string to_sign = "AWS4-HMAC-SHA256\n" + date + '\n' + scope + '\n' +
                                crypto::sha256_hex(io::bytes(canonical));
    return "AWS4-HMAC-SHA256 Credential=" + credentials.access_key + '/' + scope +
           ",SignedHeaders=" + signed_headers +
           ",Signature=" + to_hex(hmac(signing_key(input, credentials), to_sign));
}

}  // namespace chronos::storage::s3
