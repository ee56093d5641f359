#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/given.h"
#include "chronos/base/result.h"
#include "chronos/io/stream.h"

namespace chronos::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
    std::string method = "GET";
    std::string url;  ///< whole: scheme, authority, path and query, already encoded
    Headers headers;
    io::Bytes body;  ///< must outlive the call
};

/// An answer whose body was read whole. Header names are in lower case.
struct Response {
    int status = 0;
    std::map<std::string, std::string> headers;
    std::string body;

    /// "" if there is no such header.
    std::string header(const std::string& name) const;
};

/// An answer whose body is still to be read; the connection goes back to the pool when the body
/// has been read to its end, and is closed if the stream is destroyed before.
class Stream : public io::Source {
public:
    virtual int status() const = 0;
    virtual const std::map<std::string, std::string>& headers() const = 0;
};

struct ClientOptions {
    bool verify_tls = true;
    std::string ca_file;  ///< "" for the system's
    std::string ca_path;
    /// Connecting, waiting for an answer, and a transfer that stands still are given up after this.
    Given<std::chrono::milliseconds> io_timeout;
    std::string tls_cipher_12;  ///< OpenSSL cipher strings; "" for the default
    std::string tls_cipher_13;
    bool tcp_keep_alive = true;
    bool use_proxy = true;  ///< where the environment names one
    std::string user_agent;
    /// A request in it ends every wait with an error of kind cancelled; must outlive the client.
    const Cancellation* cancel = nullptr;
};

/// While it lives the requests of this thread go on in spite of a request to stop, each for so long
/// at most: to take back in the end what others would stumble over. Nobody repeats them.
class LastRequests {
public:
    explicit LastRequests(std::chrono::milliseconds each);
    ~LastRequests();
    LastRequests(const LastRequests&) = delete;
    LastRequests& operator=(const LastRequests&) = delete;

    /// nullopt where this thread is in none.
    static std::optional<std::chrono::milliseconds> each();

private:
    std::optional<std::chrono::milliseconds> former_;
};

/// HTTP/1.1 over kept connections, which all clients of the process share. Any thread may call;
/// each call uses one connection. TLS is 1.2 or later. Proxies come from the environment
/// (https_proxy, no_proxy, ...). Redirects are not followed. A header `host` in a request replaces
/// the one that the URL gives; connecting and certificates go by the URL. A thread gives back its
/// CPU token while it waits. Makes one attempt: failures of the network are of kind host_connect
/// and marked transient; certificates that do not verify are of kind crypto.
class Client {
public:
    explicit Client(ClientOptions options);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// Reads the whole answer; a body longer than `body_size_max` is an error.
    Result<Response> perform(const Request& request,
                             std::size_t body_size_max = std::size_t{64} << 20);
    /// Returns when the head of the answer is there.
    Result<std::unique_ptr<Stream>> open(const Request& request);

    struct Pool;  ///< the options; shared with the streams that are still open

private:
    std::shared_ptr<Pool> pool_;
};

/// Percent-encoding of a path (keeps '/') or of a query key or value (does not): everything but
/// A-Z a-z 0-9 - _ . ~ over the bytes of the text, upper-case digits.
std::string encode_uri(std::string_view text, bool keep_slash);

}  // namespace chronos::http
