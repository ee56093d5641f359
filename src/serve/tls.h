#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/result.h"
#include "chronos/os/file.h"

namespace chronos::serve {

/// Bytes to and from a client. Every call ends at its deadline.
class Wire {
public:
    virtual ~Wire() = default;
    /// Bytes read, 0 at the end, -1 if it failed or took too long.
    virtual ssize_t read(char* to, std::size_t size, const Deadline& deadline) = 0;
    virtual ssize_t write(const char* from, std::size_t size, const Deadline& deadline) = 0;
};

/// `socket` is non-blocking and outlives the wire.
std::unique_ptr<Wire> make_plain_wire(int socket);

/// Certificate and key of a server; TLS 1.2 or later.
class TlsContext {
public:
    /// Kind crypto, with what OpenSSL says of the files.
    static Result<std::unique_ptr<TlsContext>> load(const std::string& cert_file,
                                                    const std::string& key_file);
    ~TlsContext();
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;

    /// Shakes hands; nullptr if that fails.
    std::unique_ptr<Wire> accept(int socket, const Deadline& deadline);

    struct State;

private:
    explicit TlsContext(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace chronos::serve
