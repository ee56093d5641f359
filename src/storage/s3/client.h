#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "chronos/http/client.h"
#include "chronos/storage/s3/s3_storage.h"
#include "storage/s3/credentials.h"
#include "storage/s3/signer.h"

namespace chronos::storage::s3 {

/// One request to the bucket, before it is addressed and signed.
struct Call {
    const char* operation = "";  ///< for messages: "get object", "list objects", ...
    std::string method = "GET";
    std::string key;  ///< whole key, prefix included; "" for the bucket
    NamedValues query;
    NamedValues headers;  ///< lower-case names; all are signed
    io::Bytes body;
    bool once = false;  ///< not repeated: for what is only tidying up
    /// The condition is in the headers: that it is not met is an error of kind file_exists, and
    /// command_invalid that the store does not know it.
    bool only_if_missing = false;
};

/// Looks at an answer of status 2xx: what it makes a transient error of is asked for again.
using AnswerCheck = std::function<Result<>(const http::Response& response)>;

/// Addresses, signs, sends and judges requests. Any thread. An answer other than 2xx is an error
/// whose kind and transience the answer decides; a request is repeated while its error is
/// transient and time is left.
class Client {
public:
    static Result<std::unique_ptr<Client>> make(S3Options options);

    Result<http::Response> perform(const Call& call, const AnswerCheck& check = {});
    Result<std::unique_ptr<http::Stream>> open(const Call& call);

    const S3Options& options() const { return options_; }
    /// "s3://bucket/key"
    std::string describe(const std::string& key) const;
    /// The headers of server-side encryption, tags and class that creating an object carries.
    NamedValues creation_headers() const;
    /// The headers that reading or writing customer-encrypted data carries.
    NamedValues customer_key_headers() const;

private:
    explicit Client(S3Options options) : options_(std::move(options)) {}
    Result<http::Request> sign(const Call& call);
    Result<> address();
    http::ClientOptions http_options() const;
    /// What one attempt was signed with: its failure is judged by that, whatever other threads
    /// have learned meanwhile.
    struct SignedWith {
        Credentials credentials;
        std::int64_t clock_offset_s = 0;
    };
    Result<http::Request> sign(const Call& call, SignedWith& used);
    Result<http::Response> perform_once(const Call& call, const AnswerCheck& check);
    Result<std::unique_ptr<http::Stream>> open_once(const Call& call);
    Error judge(const Call& call, const http::Response& response, const SignedWith& used);
    /// Draws what follows from an error for the requests to come; true if it may go away.
    bool learn_from(const std::string& code, const http::Response& response,
                    const SignedWith& used);
    template <class Attempt>
    auto retry(const Call& call, const Attempt& attempt) -> decltype(attempt());
    Result<> pause(std::chrono::milliseconds duration) const;

    S3Options options_;
    std::unique_ptr<http::Client> http_;
    std::unique_ptr<CredentialSource> credentials_;
    std::string base_url_;                         ///< "https://host[:port]", where to connect
    std::string host_;                             ///< as the header `host` says it
    std::string base_path_;                        ///< "" or "/bucket"
    std::atomic<std::int64_t> clock_offset_s_{0};  ///< what the server's clock is ahead of ours
};

}  // namespace chronos::storage::s3
