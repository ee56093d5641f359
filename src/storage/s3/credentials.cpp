#include "storage/s3/credentials.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/http/client.h"
#include "chronos/os/file.h"
#include "chronos/os/process.h"
#include "storage/s3/xml.h"

namespace chronos::storage::s3 {
namespace {

constexpr UnixTime kRefreshBefore_s = 300;
constexpr const char* kInstanceMetadata = "http://169.254.169.254";
constexpr const char* kContainerMetadata = "http://169.254.170.2";

Result<std::string> read_file(const std::string& path) {
    constexpr std::size_t kSizeMax = std::size_t{1} << 20;
    return os::read_small(path, kSizeMax);
}

}  // namespace

Result<Fetched> parse_json_keys(const std::string& text, const std::string& where) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    const auto field = [&](const char* name) {
        return json.is_object() && json.contains(name) && json[name].is_string()
                   ? json[name].get<std::string>()
                   : std::string();
    };
    if (const std::string code = field("Code"); !code.empty() && code != "Success")
        return Error(ErrorKind::access, "keys from " + where + ": " + printable(code));
    Fetched fetched;
    fetched.credentials.access_key = field("AccessKeyId");
    fetched.credentials.secret_key = field("SecretAccessKey");
    fetched.credentials.session_token = field("Token");
    if (fetched.credentials.session_token.empty())
        fetched.credentials.session_token = field("SessionToken");
    fetched.expires = parse_iso_time(field("Expiration"));
    // The answer itself is not shown: it may hold keys.
    if (fetched.credentials.access_key.empty() || fetched.credentials.secret_key.empty())
        return Error(ErrorKind::format, "answer of " + where +
                                            " holds no AccessKeyId and "
                                            "SecretAccessKey");
    return fetched;
}

namespace {

/// Keeps what `fetch` returned until it is about to expire.
class CachingSource final : public CredentialSource {
public:
    explicit CachingSource(std::function<Result<Fetched>()> fetch) : fetch_(std::move(fetch)) {}

    Result<Credentials> get() override {
        const std::lock_guard lock(mutex_);
        if (!valid_ ||
            (fetched_.expires != 0 && unix_now() + kRefreshBefore_s >= fetched_.expires)) {
            auto fetched = fetch_();
            if (!fetched) {
                // What is at hand may still be good for some minutes.
                if (valid_ && unix_now() < fetched_.expires) {
                    log_warn("unable to renew the keys for S3, which expire at " +
                             format_local_time(fetched_.expires) + ": " +
                             fetched.error().message());
                    return fetched_.credentials;
                }
                return std::move(fetched).error().while_doing("fetch keys for S3");
            }
            fetched_ = *std::move(fetched);
            valid_ = true;
        }
        return fetched_.credentials;
    }
    bool invalidate(const Credentials& refused) override {
        const std::lock_guard lock(mutex_);
        // Another thread may have fetched new ones since these were handed out.
        if (valid_ && fetched_.credentials == refused) valid_ = false;
        return true;
    }

private:
    std::function<Result<Fetched>()> fetch_;
    std::mutex mutex_;
    Fetched fetched_;
    bool valid_ = false;
};

/// Keys that are given once.
class FixedSource final : public CredentialSource {
public:
    explicit FixedSource(Credentials credentials) : credentials_(std::move(credentials)) {}
    Result<Credentials> get() override { return credentials_; }
    bool invalidate(const Credentials&) override { return false; }

private:
    Credentials credentials_;
};

/// A profile of the shared credentials file, read again when the file has changed.
class SharedFileSource final : public CredentialSource {
public:
    SharedFileSource(std::string path, std::string profile)
        : path_(std::move(path)), profile_(std::move(profile)) {}

    Result<Credentials> get() override {
        const std::lock_guard lock(mutex_);
        struct stat info {};
        if (stat(path_.c_str(), &info) != 0)
            return system_error(ErrorKind::file_open, "unable to read '" + path_ + "'", errno);
        if (!loaded_ || info.st_mtim.tv_sec != modified_.tv_sec ||
            info.st_mtim.tv_nsec != modified_.tv_nsec) {
            credentials_ = CHRONOS_TRY(load());
            modified_ = info.st_mtim;
            loaded_ = true;
        }
        return credentials_;
    }
    bool invalidate(const Credentials& refused) override {
        {
            const std::lock_guard lock(mutex_);
            loaded_ = false;
        }
        const auto now = get();
        return now && *now != refused;
    }

private:
    Result<Credentials> load() const {
        const std::string text = CHRONOS_TRY(read_file(path_));
        Credentials credentials;
        bool inside = false;
        for (std::string_view line : split(text, '\n')) {
            line = trim(line);
            if (line.empty() || line.front() == '#' || line.front() == ';') continue;
            if (line.front() == '[') {
                inside = trim(line.substr(1, line.find(']') - 1)) == profile_;
                continue;
            }
            const std::size_t equals = line.find('=');
            if (!inside || equals == std::string_view::npos) continue;
            const std::string_view name = trim(line.substr(0, equals));
            const std::string value(trim(line.substr(equals + 1)));
            if (name == "aws_access_key_id") credentials.access_key = value;
            if (name == "aws_secret_access_key") credentials.secret_key = value;
            if (name == "aws_session_token") credentials.session_token = value;
        }
        if (credentials.access_key.empty() || credentials.secret_key.empty())
            return Error(ErrorKind::option_required,
                         "profile '" + profile_ + "' in '" + path_ + "' holds no keys");
        return credentials;
    }

    const std::string path_;
    const std::string profile_;
    std::mutex mutex_;
    timespec modified_{};
    bool loaded_ = false;
    Credentials credentials_;
};

http::ClientOptions metadata_options(const S3Options& s3) {
    http::ClientOptions options;
    options.io_timeout = std::chrono::milliseconds(5000);  // a neighbour answers at once or not
    options.use_proxy = false;
    options.cancel = s3.cancel;
    return options;
}

Result<std::string> get_text(http::Client& client, const std::string& url, http::Headers headers) {
    http::Request request;
    request.url = url;
    request.headers = std::move(headers);
    http::Response response = CHRONOS_TRY(client.perform(request, 1 << 20));
    if (response.status == 200) return std::move(response.body);
    std::string message =
        "request for keys answered with status " + std::to_string(response.status);
    if (const auto code = find_text(response.body, "Code")) message += " " + printable(*code, 64);
    Error error(ErrorKind::access, message);
    if (response.status == 429 || response.status >= 500) return std::move(error).as_transient();
    return error;
}

/// IMDSv2; without a token where the instance offers none.
Result<Fetched> fetch_from_instance(const S3Options& options) {
    const std::string base =
        options.environment("AWS_EC2_METADATA_SERVICE_ENDPOINT").value_or(kInstanceMetadata);
    http::Client client(metadata_options(options));
    http::Request token_request;
    token_request.method = "PUT";
    token_request.url = base + "/latest/api/token";
    token_request.headers = {{"x-aws-ec2-metadata-token-ttl-seconds", "180"}};
    http::Headers headers;
    if (auto token = client.perform(token_request, 4096); token && token->status == 200)
        headers = {{"x-aws-ec2-metadata-token", token->body}};
    const std::string path = base + "/latest/meta-data/iam/security-credentials/";
    std::string name = options.role;
    if (name.empty()) {
        const std::string roles = CHRONOS_TRY(get_text(client, path, headers));
        name = trim(split(roles, '\n').front());
    }
    return parse_json_keys(CHRONOS_TRY(get_text(client, path + name, headers)),
                           "instance metadata");
}

/// ECS and EKS: a URL in the environment, with a token from a file or the environment.
Result<Fetched> fetch_from_container(const S3Options& options) {
    const auto& environment = options.environment;
    std::string url;
    if (const auto relative = environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))
        url = kContainerMetadata + *relative;
    else if (const auto full = environment("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
        url = *full;
    else
        return Error(ErrorKind::option_invalid,
                     "environment variable AWS_CONTAINER_CREDENTIALS_FULL_URI is not set");
    http::Headers headers;
    if (const auto file = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
        const std::string token = CHRONOS_TRY(read_file(*file));
        headers = {{"authorization", std::string(trim(token))}};
    } else if (const auto token = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
        headers = {{"authorization", *token}};
    }
    http::Client client(metadata_options(options));
    return parse_json_keys(CHRONOS_TRY(get_text(client, url, headers)), "container metadata");
}

Result<Fetched> fetch_from_instance_or_container(const S3Options& options) {
    if (options.environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
        options.environment("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
        return fetch_from_container(options);
    return fetch_from_instance(options);
}

/// The role of a Kubernetes service account, through STS.
Result<Fetched> fetch_by_web_identity(const S3Options& options) {
    const auto role = options.environment("AWS_ROLE_ARN");
    const auto file = options.environment("AWS_WEB_IDENTITY_TOKEN_FILE");
    if (!role || !file)
        return Error(
            ErrorKind::option_invalid,
            "environment variables AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE must be set");
    const std::string token(trim(CHRONOS_TRY(read_file(*file))));
    http::ClientOptions client_options;
    client_options.ca_file = options.ca_file;
    client_options.ca_path = options.ca_path;
    client_options.io_timeout = options.io_timeout;
    client_options.cancel = options.cancel;
    http::Client client(client_options);
    const std::string host = options.sts_host.find("://") == std::string::npos
                                 ? "https://" + options.sts_host
                                 : options.sts_host;
    const std::string url = host + "/?" +
                            canonical_query_of({{"Action", "AssumeRoleWithWebIdentity"},
                                                {"RoleArn", *role},
                                                {"RoleSessionName", "chronos"},
                                                {"Version", "2011-06-15"},
                                                {"WebIdentityToken", token}});
    const std::string answer = CHRONOS_TRY(get_text(client, url, {}));
    Fetched fetched;
    fetched.credentials.access_key = find_text(answer, "AccessKeyId").value_or("");
    fetched.credentials.secret_key = find_text(answer, "SecretAccessKey").value_or("");
    fetched.credentials.session_token = find_text(answer, "SessionToken").value_or("");
    fetched.expires = parse_iso_time(trim(find_text(answer, "Expiration").value_or("")));
    if (fetched.credentials.access_key.empty() || fetched.credentials.secret_key.empty())
        return Error(ErrorKind::format, "the answer of STS holds no keys");
    return fetched;
}

/// What a command prints on its standard output. No shell is involved.
Result<std::string> output_of(const std::vector<std::string>& command, const Cancellation* cancel) {
    constexpr std::uint64_t kOutputMaxBytes = 65536;
    std::string output;
    const os::Ended ended = CHRONOS_TRY(os::run({.arguments = command},
                                                {std::chrono::minutes(1), cancel, kOutputMaxBytes},
                                                [&](std::string_view chunk) { output += chunk; }));
    switch (ended.how) {
        case os::Ended::How::timed_out:
            return Error(ErrorKind::execute, "it did not end within a minute");
        case os::Ended::How::too_much_output:
            return Error(ErrorKind::execute, "more than 64 KiB of output");
        case os::Ended::How::by_itself: break;
    }
    if (!ended.success()) return Error(ErrorKind::execute, "it ended with a failure");
    return output;
}

/// Keys given in the configuration, else AWS_* variables, else the shared file.
Result<std::unique_ptr<CredentialSource>> make_shared_source(const S3Options& options) {
    if (!options.key.empty() && !options.key_secret.empty())
        return std::make_unique<FixedSource>(
            Credentials{options.key, options.key_secret, options.token});
    const auto key = options.environment("AWS_ACCESS_KEY_ID");
    const auto secret = options.environment("AWS_SECRET_ACCESS_KEY");
    if (key && secret)
        return std::make_unique<FixedSource>(
            Credentials{*key, *secret, options.environment("AWS_SESSION_TOKEN").value_or("")});
    std::string path = options.environment("AWS_SHARED_CREDENTIALS_FILE").value_or("");
    if (path.empty())
        if (const auto home = options.environment("HOME")) path = *home + "/.aws/credentials";
    if (!path.empty() && access(path.c_str(), R_OK) == 0)
        return std::make_unique<SharedFileSource>(
            path, options.environment("AWS_PROFILE").value_or("default"));
    return Error(ErrorKind::option_required,
                 "S3 repository requires options: repo-s3-key, "
                 "repo-s3-key-secret")
        .with_hint(
            "Keys may stand in the configuration, in AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or in a shared credentials file; for a role use "
            "repo-s3-key-type.");
}

}  // namespace

Result<std::unique_ptr<CredentialSource>> make_credential_source(const S3Options& options) {
    switch (options.key_type) {
        case S3KeyType::shared: return make_shared_source(options);
        case S3KeyType::automatic:
            return std::make_unique<CachingSource>(
                [options] { return fetch_from_instance_or_container(options); });
        case S3KeyType::web_identity:
            return std::make_unique<CachingSource>(
                [options] { return fetch_by_web_identity(options); });
        case S3KeyType::pod_identity:
            return std::make_unique<CachingSource>(
                [options] { return fetch_from_container(options); });
        case S3KeyType::process: break;
    }
    if (options.process_command.empty())
        return Error(ErrorKind::option_required,
                     "S3 repository requires option: repo-s3-process-cmd");
    return std::make_unique<CachingSource>([options]() -> Result<Fetched> {
        const std::string& name = options.process_command.front();
        return parse_json_keys(CHRONOS_TRY_DOING(output_of(options.process_command, options.cancel),
                                                 "run '" + printable(name) + "'"),
                               "'" + printable(name) + "'");
    });
}

}  // namespace chronos::storage::s3
