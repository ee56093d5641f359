#include "serve/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace chronos::serve {
namespace {

/// False at the deadline.
bool wait_for(int socket, short events, const Deadline& deadline) {
    pollfd waiting{socket, events, 0};
    for (;;) {
        const int ready = poll(&waiting, 1, static_cast<int>(deadline.remaining().count()));
        if (ready > 0) return true;
        if (ready == 0 || errno != EINTR) return false;
    }
}

class PlainWire final : public Wire {
public:
    explicit PlainWire(int socket) : socket_(socket) {}

    ssize_t read(char* to, std::size_t size, const Deadline& deadline) override {
        for (;;) {
            const ssize_t count = recv(socket_, to, size, 0);
            if (count >= 0) return count;
            if (!try_again(POLLIN, deadline)) return -1;
        }
    }
    ssize_t write(const char* from, std::size_t size, const Deadline& deadline) override {
        for (;;) {
            const ssize_t count = send(socket_, from, size, MSG_NOSIGNAL);
            if (count >= 0) return count;
            if (!try_again(POLLOUT, deadline)) return -1;
        }
    }

private:
    bool try_again(short events, const Deadline& deadline) const {
        if (errno == EINTR) return true;
        return (errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(socket_, events, deadline);
    }

    int socket_;
};

struct FreeSsl {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};

class TlsWire final : public Wire {
public:
    TlsWire(std::unique_ptr<SSL, FreeSsl> ssl, int socket)
        : ssl_(std::move(ssl)), socket_(socket) {}
    ~TlsWire() override {
        ERR_clear_error();
        SSL_shutdown(ssl_.get());  // one way: the client need not wait for more
    }

    bool shake_hands(const Deadline& deadline) {
        return repeat(deadline, [&] { return SSL_accept(ssl_.get()); }) > 0;
    }
    ssize_t read(char* to, std::size_t size, const Deadline& deadline) override {
        return repeat(deadline, [&] { return SSL_read(ssl_.get(), to, static_cast<int>(size)); });
    }
    ssize_t write(const char* from, std::size_t size, const Deadline& deadline) override {
        return repeat(deadline,
                      [&] { return SSL_write(ssl_.get(), from, static_cast<int>(size)); });
    }

private:
    template <class Step>
    int repeat(const Deadline& deadline, Step&& step) {
        for (;;) {
            ERR_clear_error();
            const int result = step();
            if (result > 0) return result;
            switch (SSL_get_error(ssl_.get(), result)) {
                case SSL_ERROR_WANT_READ:
                    if (!wait_for(socket_, POLLIN, deadline)) return -1;
                    break;
                case SSL_ERROR_WANT_WRITE:
                    if (!wait_for(socket_, POLLOUT, deadline)) return -1;
                    break;
                case SSL_ERROR_ZERO_RETURN: return 0;
                default: return -1;
            }
        }
    }

    std::unique_ptr<SSL, FreeSsl> ssl_;
    int socket_;
};

struct FreeContext {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};

Error tls_error(const std::string& file) {
    const char* reason = ERR_reason_error_string(ERR_get_error());
    return {ErrorKind::crypto, "unable to use '" + file +
                                   "' for TLS: " + (reason != nullptr ? reason : "unknown error")};
}

}  // namespace

std::unique_ptr<Wire> make_plain_wire(int socket) {
    return std::make_unique<PlainWire>(socket);
}

struct TlsContext::State {
    std::unique_ptr<SSL_CTX, FreeContext> context;
};

TlsContext::TlsContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsContext::~TlsContext() = default;

Result<std::unique_ptr<TlsContext>> TlsContext::load(const std::string& cert_file,
                                                     const std::string& key_file) {
    auto state = std::make_unique<State>();
    state->context.reset(SSL_CTX_new(TLS_server_method()));
    SSL_CTX* context = state->context.get();
    if (context == nullptr) return Error(ErrorKind::crypto, "unable to prepare TLS");
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    // Sessions kept for clients that may come back would be memory that grows with strangers.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, cert_file.c_str()) != 1)
        return tls_error(cert_file);
    if (SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return tls_error(key_file);
    return std::unique_ptr<TlsContext>(new TlsContext(std::move(state)));
}

std::unique_ptr<Wire> TlsContext::accept(int socket, const Deadline& deadline) {
    std::unique_ptr<SSL, FreeSsl> ssl(SSL_new(state_->context.get()));
    if (!ssl || SSL_set_fd(ssl.get(), socket) != 1) return nullptr;
    auto wire = std::make_unique<TlsWire>(std::move(ssl), socket);
    if (!wire->shake_hands(deadline)) return nullptr;
    return wire;
}

}  // namespace chronos::serve
