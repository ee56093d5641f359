#include "storage/s3/client.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "chronos/base/cancel.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/signing.h"
#include "storage/s3/xml.h"

namespace chronos::storage {
namespace {

struct Counters {
    std::mutex mutex;
    std::map<std::string, std::uint64_t> counts;
};

Counters& counters() {
    static Counters instance;
    return instance;
}

}  // namespace

std::map<std::string, std::uint64_t> s3_request_counts() {
    const std::lock_guard lock(counters().mutex);
    return counters().counts;
}

namespace s3 {
namespace {

constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{20000};

void count_request(const char* operation) {
    const std::lock_guard lock(counters().mutex);
    ++counters().counts[operation];
}

struct Endpoint {
    std::string scheme = "https";
    std::string host;  ///< IPv6 in brackets
    std::string port;  ///< "" for the scheme's
};

/// "[http[s]://]host[:port][/ignored]"
Endpoint parse_endpoint(std::string_view text) {
    Endpoint endpoint;
    if (const std::size_t scheme = text.find("://"); scheme != std::string_view::npos) {
        endpoint.scheme = text.substr(0, scheme);
        text.remove_prefix(scheme + 3);
    }
    text = text.substr(0, text.find('/'));
    const std::size_t bracket = text.find(']');
    const std::size_t colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
    endpoint.host = text.substr(0, colon);
    if (colon != std::string_view::npos) endpoint.port = text.substr(colon + 1);
    return endpoint;
}

bool default_port(const Endpoint& endpoint) {
    return endpoint.port.empty() || (endpoint.scheme == "https" && endpoint.port == "443") ||
           (endpoint.scheme == "http" && endpoint.port == "80");
}

std::chrono::milliseconds jittered(std::chrono::milliseconds pause) {
    thread_local std::minstd_rand random{std::random_device{}()};
    std::uniform_real_distribution<double> factor(0.5, 1.5);
    return std::chrono::milliseconds(
        static_cast<std::int64_t>(static_cast<double>(pause.count()) * factor(random)));
}

bool transient_status(int status) {
    return status == 408 || status == 429 || status >= 500;
}

bool transient_code(const std::string& code) {
    static const char* const kCodes[] = {"RequestTimeout",
                                         "SlowDown",
                                         "InternalError",
                                         "ServiceUnavailable",
                                         "OperationAborted",
                                         "Throttling",
                                         "ThrottlingException",
                                         "RequestTimeTooSkewed",
                                         "ExpiredToken",
                                         "BadDigest",
                                         "XAmzContentSHA256Mismatch",
                                         "IncompleteBody"};
    return std::any_of(std::begin(kCodes), std::end(kCodes),
                       [&](const char* candidate) { return code == candidate; });
}

/// What a person can do about an answer, by its code.
const char* hint_for(const std::string& code) {
    static const std::map<std::string, const char*> kHints = {
        {"SignatureDoesNotMatch", "The secret key is wrong: check repo-s3-key-secret."},
        {"InvalidAccessKeyId", "The access key is not known there: check repo-s3-key."},
        {"InvalidToken",
         "The session token is wrong or belongs to other keys: check repo-s3-token."},
        {"ExpiredToken", "The temporary keys have expired and no newer ones were to be had."},
        {"NoSuchBucket", "There is no such bucket: check repo-s3-bucket and repo-s3-endpoint."},
        {"PermanentRedirect",
         "The bucket is in another region: check repo-s3-region and repo-s3-endpoint."},
        {"AuthorizationHeaderMalformed", "The region is not the bucket's: check repo-s3-region."},
        {"IllegalLocationConstraintException",
         "The region is not the bucket's: check repo-s3-region."},
        {"RequestTimeTooSkewed", "The clock of this machine is wrong."},
        {"QuotaExceeded",
         "The quota of the bucket or its owner is used up: make room or raise it."},
        {"InvalidObjectState",
         "The object is in an archive storage class: restore it to a readable class with the tools "
         "of "
         "the store, wait until that is done, and try again."},
        {"KMS.DisabledException", "The KMS key is disabled: check repo-s3-kms-key-id."},
    };
    const auto at = kHints.find(code);
    return at == kHints.end() ? nullptr : at->second;
}

/// The permission that an operation needs.
std::string permission_for(const std::string& operation) {
    static const std::map<std::string, const char*> kPermissions = {
        {"get object", "s3:GetObject"},
        {"look at object", "s3:GetObject and s3:ListBucket"},
        {"put object", "s3:PutObject"},
        {"start upload", "s3:PutObject"},
        {"upload part", "s3:PutObject"},
        {"complete upload", "s3:PutObject"},
        {"abort upload", "s3:AbortMultipartUpload"},
        {"list objects", "s3:ListBucket"},
        {"list versions", "s3:ListBucketVersions"},
        {"list uploads", "s3:ListBucketMultipartUploads"},
        {"delete object", "s3:DeleteObject"},
        {"delete objects", "s3:DeleteObject"}};
    const auto at = kPermissions.find(operation);
    return at == kPermissions.end() ? operation : at->second;
}

std::int64_t parse_http_date(const std::string& text) {
    std::tm parts{};
    if (strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S", &parts) == nullptr) return 0;
    return timegm(&parts);
}

}  // namespace

Result<std::unique_ptr<Client>> Client::make(S3Options options) {
    if (options.bucket.empty())
        return Error(ErrorKind::option_required, "S3 repository requires option: repo-s3-bucket");
    std::unique_ptr<Client> client(new Client(std::move(options)));
    S3Options& o = client->options_;
    if (o.endpoint.empty() && o.region.empty())
        return Error(ErrorKind::option_required,
                     "S3 repository requires option: repo-s3-region or repo-s3-endpoint");
    if (o.region.empty()) o.region = "us-east-1";
    if (o.endpoint.empty()) o.endpoint = "s3." + o.region + ".amazonaws.com";
    Endpoint endpoint = parse_endpoint(o.endpoint);
    if (!o.path_style && o.verify_tls && endpoint.scheme == "https" &&
        o.bucket.find('.') != std::string::npos)
        return Error(ErrorKind::option_invalid_value,
                     "bucket '" + o.bucket +
                         "' contains a dot: its certificate cannot be verified in host style")
            .with_hint("Use repo-s3-uri-style=path.");
    if (o.port) endpoint.port = std::to_string(*o.port);
    http::ClientOptions http_options;
    http_options.verify_tls = o.verify_tls;
    http_options.ca_file = o.ca_file;
    http_options.ca_path = o.ca_path;
    http_options.io_timeout = o.io_timeout;
    http_options.tls_cipher_12 = o.tls_cipher_12;
    http_options.tls_cipher_13 = o.tls_cipher_13;
    http_options.user_agent = o.user_agent;
    if (!o.host.empty()) {
        Endpoint connect = parse_endpoint(o.host);
        if (o.host.find("://") != std::string::npos) endpoint.scheme = connect.scheme;
        if (o.port) connect.port = std::to_string(*o.port);
        if (connect.port.empty()) connect.port = endpoint.scheme == "https" ? "443" : "80";
        http_options.connect_to = connect.host + ":" + connect.port;
    }
    const std::string authority =
        endpoint.host + (default_port(endpoint) ? "" : ":" + endpoint.port);
    client->host_ = o.path_style ? authority : o.bucket + "." + authority;
    client->base_path_ = o.path_style ? "/" + http::encode_uri(o.bucket, false) : "";
    client->base_url_ = endpoint.scheme + "://" + client->host_;
    client->http_ = std::make_unique<http::Client>(std::move(http_options));
    client->credentials_ = CHRONOS_TRY(make_credential_source(o));
    return client;
}

std::string Client::describe(const std::string& key) const {
    return "s3://" + options_.bucket + "/" + key;
}

NamedValues Client::customer_key_headers() const {
    if (options_.customer_key.empty()) return {};
    const std::string raw = crypto::from_base64(options_.customer_key).value_or("");
    return {{"x-amz-server-side-encryption-customer-algorithm", "AES256"},
            {"x-amz-server-side-encryption-customer-key", options_.customer_key},
            {"x-amz-server-side-encryption-customer-key-md5",
             crypto::base64(crypto::md5(io::bytes(raw)))}};
}

NamedValues Client::creation_headers() const {
    NamedValues headers = customer_key_headers();
    if (!options_.kms_key_id.empty()) {
        headers.emplace_back("x-amz-server-side-encryption", "aws:kms");
        headers.emplace_back("x-amz-server-side-encryption-aws-kms-key-id", options_.kms_key_id);
    } else if (options_.server_side_aes) {
        headers.emplace_back("x-amz-server-side-encryption", "AES256");
    }
    if (!options_.storage_class.empty())
        headers.emplace_back("x-amz-storage-class", options_.storage_class);
    if (!options_.tags.empty())
        headers.emplace_back("x-amz-tagging", canonical_query_of(NamedValues(options_.tags.begin(),
                                                                             options_.tags.end())));
    return headers;
}

Result<http::Request> Client::sign(const Call& call) {
    const Credentials credentials = CHRONOS_TRY(credentials_->get());
    SigningInput input;
    input.method = call.method;
    input.canonical_uri = base_path_ + "/" + http::encode_uri(call.key, true);
    input.canonical_query = canonical_query_of(call.query);
    input.payload_sha256 = crypto::sha256_hex(call.body);
    input.time = unix_now() + clock_offset_s_.load(std::memory_order_relaxed);
    input.region = options_.region;
    input.service = options_.service;
    input.headers = call.headers;
    input.headers.emplace_back("host", host_);
    input.headers.emplace_back("x-amz-content-sha256", input.payload_sha256);
    input.headers.emplace_back("x-amz-date", amz_date(input.time));
    if (!credentials.session_token.empty())
        input.headers.emplace_back("x-amz-security-token", credentials.session_token);
    if (options_.requester_pays) input.headers.emplace_back("x-amz-request-payer", "requester");

    http::Request request;
    request.method = call.method;
    request.url = base_url_ + input.canonical_uri;
    if (!input.canonical_query.empty()) request.url += "?" + input.canonical_query;
    request.headers = input.headers;
    request.headers.emplace_back("authorization", authorization(input, credentials));
    request.body = call.body;
    return request;
}

Error Client::judge(const Call& call, const http::Response& response) {
    const ErrorDocument document = parse_error(response.body).value_or(ErrorDocument{});
    std::string request_id = response.header("x-amz-request-id");
    if (request_id.empty()) request_id = document.request_id;
    std::string message = std::string(call.operation) + " " + describe(call.key) + ": status " +
                          std::to_string(response.status);
    if (!document.code.empty()) message += " " + document.code;
    if (!document.message.empty()) message += ": " + document.message;
    if (!request_id.empty()) message += " (request id " + printable(request_id, 128) + ")";

    ErrorKind kind = ErrorKind::service;
    if (response.status == 404 && document.code != "NoSuchBucket") kind = ErrorKind::not_found;
    if (response.status == 401 || response.status == 403) kind = ErrorKind::access;
    Error error(kind, std::move(message));
    if (const char* hint = hint_for(document.code))
        error = std::move(error).with_hint(hint);
    else if (kind == ErrorKind::access)
        error = std::move(error).with_hint("The keys need the permission " +
                                           permission_for(call.operation) + " for this.");
    if (document.code == "RequestTimeTooSkewed") {
        // Sign with the server's idea of the time from here on.
        if (const std::int64_t server = parse_http_date(response.header("date")))
            clock_offset_s_.store(server - unix_now(), std::memory_order_relaxed);
    }
    if (document.code == "ExpiredToken" || document.code == "InvalidToken")
        credentials_->invalidate();
    if (transient_status(response.status) || transient_code(document.code))
        error = std::move(error).as_transient();
    return error;
}

Result<http::Response> Client::perform_once(const Call& call) {
    count_request(call.operation);
    const http::Request request = CHRONOS_TRY(sign(call));
    http::Response response = CHRONOS_TRY_DOING(
        http_->perform(request), std::string(call.operation) + " " + describe(call.key));
    if (response.status < 200 || response.status > 299) return judge(call, response);
    return response;
}

Result<std::unique_ptr<http::Stream>> Client::open_once(const Call& call) {
    count_request(call.operation);
    const http::Request request = CHRONOS_TRY(sign(call));
    auto stream = CHRONOS_TRY_DOING(http_->open(request),
                                    std::string(call.operation) + " " + describe(call.key));
    if (stream->status() >= 200 && stream->status() <= 299) return stream;
    http::Response response;
    response.status = stream->status();
    response.headers = stream->headers();
    if (auto body = io::read_all(*stream, 1 << 20)) response.body = *std::move(body);
    return judge(call, response);
}

template <class Attempt>
auto Client::retry(const Attempt& attempt) -> decltype(attempt()) {
    const Deadline deadline(options_.retry_for);
    std::chrono::milliseconds pause = kFirstPause;
    for (unsigned tries = 1;; ++tries) {
        auto result = attempt();
        if (result || !result.error().transient()) return result;
        const auto wait = jittered(pause);
        if (wait >= deadline.remaining())
            return std::move(result).error().while_doing("given up after " + std::to_string(tries) +
                                                         " tries");
        log_detail("try " + std::to_string(tries) + " failed, again in " +
                   std::to_string(wait.count()) + " ms: " + result.error().message());
        std::this_thread::sleep_for(wait);
        pause = std::min(pause * 2, kLongestPause);
    }
}

Result<http::Response> Client::perform(const Call& call) {
    return retry([&] { return perform_once(call); });
}

Result<std::unique_ptr<http::Stream>> Client::open(const Call& call) {
    return retry([&] { return open_once(call); });
}

}  // namespace s3
}  // namespace chronos::storage
