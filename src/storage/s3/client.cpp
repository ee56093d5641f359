#include "storage/s3/client.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "chronos/base/cancel.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/signing.h"
#include "chronos/io/cpu_tokens.h"
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
constexpr std::chrono::milliseconds kLongestPause{10000};
constexpr unsigned kRepetitionsMin = 2;  ///< made however long the tries take
constexpr unsigned kQuietTries = 4;      ///< after this many the user hears of it

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

/// "host" or "host:port", as a Host header says it: without the scheme's own port.
std::string authority_of(const Endpoint& endpoint) {
    const bool usual = endpoint.port.empty() ||
                       (endpoint.scheme == "https" && endpoint.port == "443") ||
                       (endpoint.scheme == "http" && endpoint.port == "80");
    return usual ? endpoint.host : endpoint.host + ":" + endpoint.port;
}

std::chrono::milliseconds jittered(std::chrono::milliseconds pause) {
    thread_local std::minstd_rand random{std::random_device{}()};
    std::uniform_real_distribution<double> factor(0.5, 1.5);
    return std::chrono::milliseconds(
        static_cast<std::int64_t>(static_cast<double>(pause.count()) * factor(random)));
}

bool transient_status(int status) {
    // 501 and 505 say that the server does not know what was asked, and never will.
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

bool transient_code(const std::string& code) {
    static const std::set<std::string> kCodes = {
        "RequestTimeout",      "SlowDown",         "InternalError",
        "ServiceUnavailable",  "OperationAborted", "Throttling",
        "ThrottlingException", "BadDigest",        "XAmzContentSHA256Mismatch",
        "IncompleteBody"};
    return kCodes.contains(code);
}

/// What a person can do about an answer, by its code; "" if nothing is known.
std::string hint_for(const ErrorDocument& document) {
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
        {"RequestTimeTooSkewed", "The clock of this machine is wrong: set it."},
        {"QuotaExceeded",
         "The quota of the bucket or its owner is used up: make room or raise it."},
        {"InvalidObjectState",
         "The object is in an archive storage class: restore it to a readable class with the tools"
         " of the store, wait until that is done, and try again."},
        {"KMS.DisabledException", "The KMS key is disabled: check repo-s3-kms-key-id."},
    };
    const auto at = kHints.find(document.code);
    if (at == kHints.end()) return "";
    if (document.region.empty()) return at->second;
    return std::string(at->second) + " The bucket is in region " + document.region + ".";
}

/// Of Ceph and MinIO; S3 itself is never full.
bool says_full(const std::string& code) {
    return code == "QuotaExceeded" || code == "XMinioStorageFull" ||
           code == "XMinioAdminBucketQuotaExceeded";
}

/// The codes by which S3 itself says that an object, version or upload is not there.
bool says_missing(const std::string& code) {
    return code == "NoSuchKey" || code == "NoSuchVersion" || code == "NoSuchUpload";
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

/// Where a region's buckets are. China is a partition with a domain of its own.
std::string endpoint_of_region(const std::string& region) {
    return "s3." + region + (region.starts_with("cn-") ? ".amazonaws.com.cn" : ".amazonaws.com");
}

/// "s3.eu-west-1.amazonaws.com", "s3.dualstack.eu-west-1.amazonaws.com": "eu-west-1"; else "".
std::string region_of_endpoint(const std::string& host) {
    const std::size_t domain = host.find(".amazonaws.com");
    if (domain == std::string::npos) return "";
    const std::string names = host.substr(0, domain);
    const std::string last = names.substr(names.rfind('.') + 1);
    return last.starts_with("s3") || last == "dualstack" ? "" : last;
}

std::string region_of(const S3Options& options) {
    if (!options.region.empty()) return options.region;
    for (const char* variable : {"AWS_REGION", "AWS_DEFAULT_REGION"})
        if (const auto region = options.environment(variable); region && !region->empty())
            return *region;
    return region_of_endpoint(parse_endpoint(options.endpoint).host);
}

std::optional<std::string> process_environment(const std::string& name) {
    const char* value = getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace

Result<std::unique_ptr<Client>> Client::make(S3Options options) {
    if (options.bucket.empty())
        return Error(ErrorKind::option_required, "S3 repository requires option: repo-s3-bucket");
    if (!options.environment) options.environment = process_environment;
    options.region = region_of(options);
    if (!options.customer_key.empty() &&
        crypto::from_base64(options.customer_key).value_or("").size() != 32)
        return Error(ErrorKind::option_invalid_value,
                     "repo-s3-sse-customer-key must be 32 bytes in base64");
    std::unique_ptr<Client> client(new Client(std::move(options)));
    CHRONOS_TRY(client->address());
    client->http_ = std::make_unique<http::Client>(client->http_options());
    client->credentials_ = CHRONOS_TRY(make_credential_source(client->options_));
    return client;
}

/// Decides which names and URLs the bucket has.
Result<> Client::address() {
    S3Options& o = options_;
    if (o.endpoint.empty() && o.region.empty())
        return Error(ErrorKind::option_required,
                     "S3 repository requires option: repo-s3-region or repo-s3-endpoint");
    if (o.endpoint.empty()) o.endpoint = endpoint_of_region(o.region);
    if (o.region.empty()) o.region = "us-east-1";
    Endpoint endpoint = parse_endpoint(o.endpoint);
    const bool host_style = !o.path_style;
    if (host_style && o.verify_tls && o.host.empty() && endpoint.scheme == "https" &&
        o.bucket.find('.') != std::string::npos)
        return Error(ErrorKind::option_invalid_value,
                     "bucket '" + o.bucket +
                         "' contains a dot: its certificate cannot be verified in host style")
            .with_hint("Use repo-s3-uri-style=path.");
    if (o.port) endpoint.port = std::to_string(*o.port);
    host_ = (host_style ? o.bucket + "." : "") + authority_of(endpoint);
    base_path_ = host_style ? "" : "/" + http::encode_uri(o.bucket, false);
    base_url_ = endpoint.scheme + "://" + host_;
    if (!o.host.empty()) {
        Endpoint connect = parse_endpoint(o.host);
        if (o.host.find("://") == std::string::npos) connect.scheme = endpoint.scheme;
        if (o.port) connect.port = std::to_string(*o.port);
        base_url_ = connect.scheme + "://" + authority_of(connect);
    }
    if (!base_url_.starts_with("https://") && !base_url_.starts_with("http://"))
        return Error(
            ErrorKind::option_invalid_value,
            "'" + printable(o.host.empty() ? o.endpoint : o.host) +
                "' is not valid for an S3 endpoint: it may begin with https:// or http://");
    return {};
}

http::ClientOptions Client::http_options() const {
    http::ClientOptions result;
    result.verify_tls = options_.verify_tls;
    result.ca_file = options_.ca_file;
    result.ca_path = options_.ca_path;
    result.io_timeout = options_.io_timeout;
    result.tls_cipher_12 = options_.tls_cipher_12;
    result.tls_cipher_13 = options_.tls_cipher_13;
    result.user_agent = options_.user_agent;
    result.cancel = options_.cancel;
    return result;
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

Result<http::Request> Client::sign(const Call& call, SignedWith& used) {
    used.credentials = CHRONOS_TRY(credentials_->get());
    used.clock_offset_s = clock_offset_s_.load(std::memory_order_relaxed);
    SigningInput input;
    input.method = call.method;
    input.canonical_uri = base_path_ + "/" + http::encode_uri(call.key, true);
    input.canonical_query = canonical_query_of(call.query);
    input.payload_sha256 = crypto::sha256_hex(call.body);
    input.time = unix_now() + used.clock_offset_s;
    input.region = options_.region;
    input.service = options_.service;
    input.headers = call.headers;
    input.headers.emplace_back("host", host_);
    input.headers.emplace_back("x-amz-content-sha256", input.payload_sha256);
    input.headers.emplace_back("x-amz-date", amz_date(input.time));
    if (const std::string& token = used.credentials.session_token; !token.empty())
        input.headers.emplace_back("x-amz-security-token", token);
    if (options_.requester_pays) input.headers.emplace_back("x-amz-request-payer", "requester");

    http::Request request;
    request.method = call.method;
    request.url = base_url_ + input.canonical_uri;
    if (!input.canonical_query.empty()) request.url += "?" + input.canonical_query;
    request.headers = input.headers;
    request.headers.emplace_back("authorization", authorization(input, used.credentials));
    request.body = call.body;
    return request;
}

bool Client::learn_from(const std::string& code, const http::Response& response,
                        const SignedWith& used) {
    if (code == "RequestTimeTooSkewed") {
        // From here on the server's idea of the time signs. A clock that is off still is no passing
        // failure.
        const std::int64_t server = parse_http_date(response.header("date"));
        if (server == 0) return false;
        const std::int64_t offset = server - unix_now();
        if (std::abs(offset - used.clock_offset_s) < 2) return false;
        if (std::abs(offset - clock_offset_s_.exchange(offset)) < 2) return true;
        log_warn("the clock of this machine is " + std::to_string(std::abs(offset)) + " s " +
                 (offset > 0 ? "behind" : "ahead of") + " that of " + host_);
        return true;
    }
    if (code == "ExpiredToken" || code == "InvalidToken" || code == "InvalidAccessKeyId")
        return credentials_->invalidate(used.credentials);
    return transient_status(response.status) || transient_code(code);
}

Error Client::judge(const Call& call, const http::Response& response, const SignedWith& used) {
    const ErrorDocument document = parse_error(response.body).value_or(ErrorDocument{});
    std::string request_id = printable(response.header("x-amz-request-id"), 128);
    if (request_id.empty()) request_id = document.request_id;
    std::string message = std::string(call.operation) + " " + describe(call.key) + ": status " +
                          std::to_string(response.status);
    if (!document.code.empty()) message += " " + document.code;
    if (!document.message.empty()) message += ": " + document.message;
    if (!request_id.empty()) message += " (request id " + request_id + ")";

    ErrorKind kind = ErrorKind::service;
    if (response.status == 401 || response.status == 403) kind = ErrorKind::access;
    // The answer to HEAD has no body, so it cannot say more; whoever asks so looks again.
    if (response.status == 404 && (says_missing(document.code) || call.method == "HEAD"))
        kind = ErrorKind::not_found;
    if (call.only_if_missing) {
        if (response.status == 412 || document.code == "ConditionalRequestConflict")
            kind = ErrorKind::file_exists;
        if (response.status == 501) kind = ErrorKind::command_invalid;
    }
    Error error(kind, std::move(message));
    if (says_full(document.code)) error = std::move(error).as_no_space();
    if (const std::string hint = hint_for(document); !hint.empty())
        error = std::move(error).with_hint(hint);
    else if (kind == ErrorKind::access)
        error = std::move(error).with_hint("The keys need the permission " +
                                           permission_for(call.operation) + " for this.");
    else if (document.code.empty() && call.method != "HEAD")
        error = std::move(error).with_hint(
            "This is not how S3 answers: check repo-s3-endpoint, repo-storage-host and what lies"
            " between.");
    if (learn_from(document.code, response, used)) error = std::move(error).as_transient();
    return error;
}

/// A line per request for whoever looks for lost time: what, to what, how it went.
class Trace {
public:
    Trace(const Call& call, std::string described) : call_(call), described_(std::move(described)) {
        for (const auto& [name, value] : call.query)
            if (name == "prefix") described_ += value;
    }
    void end(int status) const {
        const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::steady_clock::now() - begin_);
        log(LogLevel::debug, std::string(call_.operation) + " " + described_ + ": " +
                                 std::to_string(status) + " in " + std::to_string(took.count()) +
                                 " ms");
    }

private:
    const Call& call_;
    std::string described_;
    const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

Result<http::Response> Client::perform_once(const Call& call, const AnswerCheck& check) {
    const std::string what = std::string(call.operation) + " " + describe(call.key);
    SignedWith used;
    const http::Request request = CHRONOS_TRY_DOING(sign(call, used), what);
    count_request(call.operation);
    const Trace trace(call, describe(call.key));
    http::Response response = CHRONOS_TRY_DOING(http_->perform(request), what);
    trace.end(response.status);
    if (response.status < 200 || response.status > 299) return judge(call, response, used);
    if (check) CHRONOS_TRY_DOING(check(response), what);
    return response;
}

Result<std::unique_ptr<http::Stream>> Client::open_once(const Call& call) {
    const std::string what = std::string(call.operation) + " " + describe(call.key);
    SignedWith used;
    const http::Request request = CHRONOS_TRY_DOING(sign(call, used), what);
    count_request(call.operation);
    const Trace trace(call, describe(call.key));
    auto stream = CHRONOS_TRY_DOING(http_->open(request), what);
    trace.end(stream->status());
    // 416: the object does not reach to the range; that is the reader's to judge.
    if ((stream->status() >= 200 && stream->status() <= 299) || stream->status() == 416)
        return stream;
    http::Response response;
    response.status = stream->status();
    response.headers = stream->headers();
    if (auto body = io::read_all(*stream, 1 << 20)) response.body = *std::move(body);
    return judge(call, response, used);
}

/// A wait between two tries, without a CPU token and ended by a request to stop.
Result<> Client::pause(std::chrono::milliseconds duration) const {
    const io::WaitScope waiting;
    if (options_.cancel != nullptr) return options_.cancel->sleep(duration);
    std::this_thread::sleep_for(duration);
    return {};
}

template <class Attempt>
auto Client::retry(const Call& call, const Attempt& attempt) -> decltype(attempt()) {
    const auto begin = std::chrono::steady_clock::now();
    const Deadline deadline(options_.retry_for);
    std::chrono::milliseconds next_pause = kFirstPause;
    for (unsigned tries = 1;; ++tries) {
        auto result = attempt();
        if (result || !result.error().transient() || call.once || http::LastRequests::each())
            return result;
        const auto wait = jittered(next_pause);
        if (tries > kRepetitionsMin && wait >= deadline.remaining()) {
            const auto took = std::chrono::duration_cast<std::chrono::seconds>(
                std::chrono::steady_clock::now() - begin);
            return std::move(result).error().while_doing("given up after " + std::to_string(tries) +
                                                         " tries in " +
                                                         std::to_string(took.count()) + " s");
        }
        // The first ones are everyday life of a large store.
        log(tries == kQuietTries ? LogLevel::warn : LogLevel::detail,
            "try " + std::to_string(tries) + " failed, again in " + std::to_string(wait.count()) +
                " ms: " + result.error().message());
        CHRONOS_TRY(pause(wait));
        next_pause = std::min(next_pause * 2, kLongestPause);
    }
}

Result<http::Response> Client::perform(const Call& call, const AnswerCheck& check) {
    return retry(call, [&] { return perform_once(call, check); });
}

Result<std::unique_ptr<http::Stream>> Client::open(const Call& call) {
    return retry(call, [&] { return open_once(call); });
}

}  // namespace s3
}  // namespace chronos::storage
