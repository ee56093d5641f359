#include "chronos/http/client.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "chronos/base/activity.h"
#include "chronos/base/text.h"
#include "chronos/io/cpu_tokens.h"

namespace chronos::http {
namespace {

/// How much of a body may wait in memory before the transfer is paused.
constexpr std::size_t kBodyWaitingMax = 1 << 20;
constexpr std::size_t kIdleConnectionsMax = 128;
/// A transfer that is slower than this for the whole of io_timeout stands still: some half-broken
/// networks let a byte through now and then.
constexpr long kStillBytesPerSecond = 256;
/// How soon a wait notices a request to stop.
constexpr int kPollMs = 200;

struct EasyFree {
    void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
};
struct MultiFree {
    void operator()(CURLM* handle) const noexcept { curl_multi_cleanup(handle); }
};
struct ListFree {
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};

/// A transfer handle with the multi handle that drives it and keeps its connection open between
/// requests. A pair belongs to one request at a time.
struct Connection {
    std::unique_ptr<CURL, EasyFree> easy{curl_easy_init()};
    std::unique_ptr<CURLM, MultiFree> multi{curl_multi_init()};
};

void initialize_once() {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

/// The kept connections of the process, by host: each verb of a command has a client of its own,
/// and a new connection costs three round trips. libcurl uses one again only if the TLS settings
/// and the proxy are the same.
class IdleConnections {
public:
    /// Never destroyed: a stream may end after the statics of this file.
    static IdleConnections& instance() {
        static auto& connections = *new IdleConnections;
        return connections;
    }

    std::unique_ptr<Connection> take(const std::string& host) {
        const std::lock_guard lock(mutex_);
        forget_those_of_parent();
        auto& idle = by_host_[host];
        if (idle.empty()) return std::make_unique<Connection>();
        auto connection = std::move(idle.back());
        idle.pop_back();
        return connection;
    }
    void give_back(const std::string& host, std::unique_ptr<Connection> connection) {
        const std::lock_guard lock(mutex_);
        forget_those_of_parent();
        auto& idle = by_host_[host];
        if (idle.size() < kIdleConnectionsMax) idle.push_back(std::move(connection));
    }

private:
    /// Behind fork() they are another process's too: not to be used, nor to be closed in TLS's way.
    void forget_those_of_parent() {
        if (const pid_t pid = getpid(); pid != owner_) {
            for (auto& [host, idle] : by_host_)
                for (auto& connection : idle) static_cast<void>(connection.release());
            by_host_.clear();
            owner_ = pid;
        }
    }

    std::mutex mutex_;
    std::map<std::string, std::vector<std::unique_ptr<Connection>>> by_host_;
    pid_t owner_ = getpid();
};

thread_local std::optional<std::chrono::milliseconds> last_requests;

std::optional<Deadline> deadline_of_last() {
    return last_requests ? std::optional<Deadline>(*last_requests) : std::nullopt;
}

/// "https://host:port" of a URL.
std::string origin_of(const std::string& url) {
    return url.substr(0, url.find_first_of("/?", url.find("://") + 3));
}

}  // namespace

struct Client::Pool {
    explicit Pool(ClientOptions given) : options(std::move(given)) {}
    const ClientOptions options;
};

namespace {

/// One request under way: libcurl pushes head and body into it, read() pulls the body out.
class Transfer final : public Stream {
public:
    Transfer(std::shared_ptr<Client::Pool> pool, const Request& request)
        : pool_(std::move(pool)),
          origin_(origin_of(request.url)),
          connection_(IdleConnections::instance().take(origin_)),
          body_(request.body),
          last_(deadline_of_last()) {
        set_up(request);
    }
    ~Transfer() override {
        // A reader that knows the length stops without having seen the end.
        if (!done_ && head_done_ && taken_ == waiting_.size()) take_what_is_there();
        curl_multi_remove_handle(connection_->multi.get(), connection_->easy.get());
        // Only a connection on which the answer was read to its end can carry another request.
        if (done_ && !failure_)
            IdleConnections::instance().give_back(origin_, std::move(connection_));
    }

    /// Runs the transfer until the head of the answer is there.
    Result<> start() {
        curl_multi_add_handle(connection_->multi.get(), connection_->easy.get());
        while (!head_done_ && !done_) CHRONOS_TRY(step());
        if (!head_done_ && failure_) return *failure_;
        return {};
    }

    Result<std::size_t> read(io::MutableBytes out) override {
        while (taken_ == waiting_.size() && !done_) {
            waiting_.clear();
            taken_ = 0;
            resume();
            CHRONOS_TRY(step());
        }
        // What came before the failure is good; a reader may go on behind it.
        if (taken_ == waiting_.size() && failure_) return *failure_;
        const std::size_t count = std::min(out.size(), waiting_.size() - taken_);
        if (count > 0) std::memcpy(out.data(), waiting_.data() + taken_, count);
        taken_ += count;
        return count;
    }

    int status() const override { return status_; }
    const std::map<std::string, std::string>& headers() const override { return headers_; }

private:
    template <class T>
    void set(CURLoption option, T value) {
        curl_easy_setopt(connection_->easy.get(), option, value);
    }

    void set_up(const Request& request);
    void set_up_tls(const ClientOptions& options);
    void set_up_body(const Request& request);
    Result<> step();
    void take_what_is_there();
    void note_end();
    Error failure_of(CURLcode code) const;
    void resume() {
        if (!paused_) return;
        paused_ = false;
        curl_easy_pause(connection_->easy.get(), CURLPAUSE_CONT);
    }

    static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
    static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
    static std::size_t on_send(char* out, std::size_t size, std::size_t count, void* self);
    static int on_seek(void* self, curl_off_t offset, int origin);

    std::shared_ptr<Client::Pool> pool_;
    const std::string origin_;
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<curl_slist, ListFree> header_list_;  // libcurl keeps a pointer to it
    io::Bytes body_;
    std::size_t sent_ = 0;
    char reason_[CURL_ERROR_SIZE] = "";
    std::string host_;
    int status_ = 0;
    std::map<std::string, std::string> headers_;
    std::string waiting_;
    std::size_t taken_ = 0;
    bool head_done_ = false;
    bool head_seen_ = false;
    bool paused_ = false;
    bool done_ = false;
    const std::optional<Deadline> last_;  ///< of one that goes on in spite of a request to stop
    std::optional<Error> failure_;        // of the transfer, told when what came before is taken
};

void Transfer::set_up(const Request& request) {
    const ClientOptions& options = pool_->options;
    curl_easy_reset(connection_->easy.get());
    const std::size_t authority = request.url.find("://") + 3;
    host_ = request.url.substr(authority, request.url.find_first_of("/?", authority) - authority);
    set(CURLOPT_URL, request.url.c_str());
    set(CURLOPT_PATH_AS_IS, 1L);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_ERRORBUFFER, reason_);
    set(CURLOPT_BUFFERSIZE, 256L * 1024);
    set(CURLOPT_TCP_NODELAY, 1L);
    set(CURLOPT_TCP_KEEPALIVE, options.tcp_keep_alive ? 1L : 0L);
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.io_timeout->count()));
    set(CURLOPT_LOW_SPEED_LIMIT, kStillBytesPerSecond);
    set(CURLOPT_LOW_SPEED_TIME,
        std::max(1L, static_cast<long>(options.io_timeout->count() / 1000)));
    if (!options.user_agent.empty()) set(CURLOPT_USERAGENT, options.user_agent.c_str());
    // The proxy's own "200 Connection established" is not the answer.
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (!options.use_proxy) set(CURLOPT_NOPROXY, "*");
    set_up_tls(options);
    set_up_body(request);
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(this));
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
}

void Transfer::set_up_tls(const ClientOptions& options) {
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    set(CURLOPT_SSL_VERIFYPEER, options.verify_tls ? 1L : 0L);
    set(CURLOPT_SSL_VERIFYHOST, options.verify_tls ? 2L : 0L);
    if (!options.ca_file.empty()) set(CURLOPT_CAINFO, options.ca_file.c_str());
    if (!options.ca_path.empty()) set(CURLOPT_CAPATH, options.ca_path.c_str());
    if (!options.tls_cipher_12.empty()) set(CURLOPT_SSL_CIPHER_LIST, options.tls_cipher_12.c_str());
    if (!options.tls_cipher_13.empty()) set(CURLOPT_TLS13_CIPHERS, options.tls_cipher_13.c_str());
}

void Transfer::set_up_body(const Request& request) {
    curl_slist* list = nullptr;
    for (const auto& [name, value] : request.headers)
        list = curl_slist_append(list, (name + ": " + value).c_str());
    // A server that waits for the word "continue" costs a round trip for each object.
    list = curl_slist_append(list, "Expect:");
    if (request.method == "HEAD") {
        set(CURLOPT_NOBODY, 1L);
    } else if (request.method == "PUT" || request.method == "POST") {
        set(CURLOPT_UPLOAD, 1L);
        set(CURLOPT_READFUNCTION, &Transfer::on_send);
        set(CURLOPT_READDATA, static_cast<void*>(this));
        set(CURLOPT_SEEKFUNCTION, &Transfer::on_seek);
        set(CURLOPT_SEEKDATA, static_cast<void*>(this));
        set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(body_.size()));
        set(CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
    }
    set(CURLOPT_CUSTOMREQUEST, request.method == "HEAD" ? nullptr : request.method.c_str());
    header_list_.reset(list);
    set(CURLOPT_HTTPHEADER, header_list_.get());
}

/// Lets libcurl work until something has happened or a while has passed.
Result<> Transfer::step() {
    if (last_ && last_->passed())
        return Error(ErrorKind::host_connect,
                     "no answer of " + host_ + " in the time that was left");
    if (!last_ && pool_->options.cancel != nullptr) CHRONOS_TRY(pool_->options.cancel->check());
    int running = 0;
    CURLMcode code = curl_multi_perform(connection_->multi.get(), &running);
    const bool progressed = head_done_ != head_seen_ || taken_ < waiting_.size();
    head_seen_ = head_done_;
    if (code == CURLM_OK && running > 0 && !progressed) {
        const io::WaitScope waiting;
        code = curl_multi_poll(connection_->multi.get(), nullptr, 0, kPollMs, nullptr);
    }
    if (code != CURLM_OK)
        return Error(ErrorKind::internal, std::string("http: ") + curl_multi_strerror(code));
    note_end();
    return {};
}

void Transfer::note_end() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(connection_->multi.get(), &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        done_ = true;
        if (message->data.result != CURLE_OK) failure_ = failure_of(message->data.result);
    }
}

/// The end of an answer may have arrived with its last bytes; never waits.
void Transfer::take_what_is_there() {
    resume();
    int running = 0;
    if (curl_multi_perform(connection_->multi.get(), &running) != CURLM_OK || running > 0) return;
    note_end();
}

Error Transfer::failure_of(CURLcode code) const {
    const std::string why = reason_[0] != '\0' ? reason_ : curl_easy_strerror(code);
    const std::string what = "request to " + host_ + " failed: " + printable(why);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return Error(ErrorKind::crypto, what)
            .with_hint(
                "Name the authority that signed the server's certificate with"
                " repo-storage-ca-file; the certificate must bear the name connected to.");
    Error error(ErrorKind::host_connect, what);
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) return error;
    if (code == CURLE_COULDNT_RESOLVE_HOST)
        error = std::move(error).with_hint(
            "The name does not resolve: check the endpoint and the name server.");
    return std::move(error).as_transient();
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
    Activity::note();
    auto& transfer = *static_cast<Transfer*>(self);
    const std::string_view line(data, size * count);
    if (line.starts_with("HTTP/")) {  // an interim answer may come before the real one
        transfer.headers_.clear();
        const auto words = split(line, ' ');
        const auto status = words.size() > 1 ? parse_uint(trim(words[1])) : std::nullopt;
        transfer.status_ = static_cast<int>(status.value_or(0));
    } else if (trim(line).empty()) {
        transfer.head_done_ = transfer.status_ >= 200;
    } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
        transfer.headers_[to_lower(line.substr(0, colon))] = trim(line.substr(colon + 1));
    }
    return size * count;
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
    Activity::note();
    auto& transfer = *static_cast<Transfer*>(self);
    if (transfer.waiting_.size() - transfer.taken_ >= kBodyWaitingMax) {
        transfer.paused_ = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    transfer.waiting_.append(data, size * count);
    return size * count;
}

std::size_t Transfer::on_send(char* out, std::size_t size, std::size_t count, void* self) {
    Activity::note();
    auto& transfer = *static_cast<Transfer*>(self);
    const std::size_t length = std::min(size * count, transfer.body_.size() - transfer.sent_);
    if (length > 0) std::memcpy(out, transfer.body_.data() + transfer.sent_, length);
    transfer.sent_ += length;
    return length;
}

/// libcurl sends a request again by itself when a kept connection turns out to be closed.
int Transfer::on_seek(void* self, curl_off_t offset, int origin) {
    if (origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
    static_cast<Transfer*>(self)->sent_ = static_cast<std::size_t>(offset);
    return CURL_SEEKFUNC_OK;
}

}  // namespace

LastRequests::LastRequests(std::chrono::milliseconds each)
    : former_(std::exchange(last_requests, each)) {}

LastRequests::~LastRequests() {
    last_requests = former_;
}

std::optional<std::chrono::milliseconds> LastRequests::each() {
    return last_requests;
}

std::string Response::header(const std::string& name) const {
    const auto at = headers.find(name);
    return at == headers.end() ? "" : at->second;
}

Client::Client(ClientOptions options) {
    initialize_once();
    pool_ = std::make_shared<Pool>(std::move(options));
}

Client::~Client() = default;

Result<std::unique_ptr<Stream>> Client::open(const Request& request) {
    auto transfer = std::make_unique<Transfer>(pool_, request);
    CHRONOS_TRY(transfer->start());
    return transfer;
}

Result<Response> Client::perform(const Request& request, std::size_t body_size_max) {
    const std::unique_ptr<Stream> stream = CHRONOS_TRY(open(request));
    Response response;
    response.status = stream->status();
    response.headers = stream->headers();
    response.body = CHRONOS_TRY(io::read_all(*stream, body_size_max));
    return response;
}

std::string encode_uri(std::string_view text, bool keep_slash) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    std::string result;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~' ||
                           (c == '/' && keep_slash);
        if (plain) {
            result += c;
        } else {
            result += '%';
            result += kDigits[byte >> 4];
            result += kDigits[byte & 15];
        }
    }
    return result;
}

}  // namespace chronos::http
