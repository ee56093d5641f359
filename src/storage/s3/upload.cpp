// One object, of a size that nobody knows when it begins. What fits into a chunk is one PUT; the
// first byte beyond it begins an upload in parts, and then up to `upload_parallel` senders, made
// when they are needed, have one each.
//
//     write() -> buffer_ -> queue_ -> run_sender() -> stored_ (by number) -> complete()
//
// Invariant, under mutex_: queue_.size() + busy_ <= upload_parallel, which bounds memory to these
// parts and the one being filled; a part is in one place of buffer_, queue_, a sender, stored_. A
// failure is kept (failure_) and told at the next send_part() or wait_for_parts(), in the writer's
// thread. Senders compute (MD5, TLS) and so take a token each from the same tokens as their writer,
// who waits without one (cpu_tokens.cpp).
//
// When is an object there? Each part's answer is compared with the MD5 of what was sent. The status
// of the completion proves nothing: S3 sends 200 before it joins the parts, and may put an error
// into the body. It is there when the body names its ETag, and that is the one which these parts
// make. And an answer may be lost: the repetition then finds no upload, because it is an object by
// now, and looks (is_there_whole). Never finished, or failed: abort, so that nobody pays for parts;
// what an abort does not reach `maintenance` finds.
#include "storage/s3/upload.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <new>
#include <thread>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/signing.h"
#include "chronos/io/cpu_tokens.h"
#include "storage/s3/xml.h"

namespace chronos::storage::s3 {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

using Md5 = std::array<std::byte, 16>;

/// Whether the store's ETag is the MD5 of the content. It is not where the store encrypts under a
/// key that is not its own (which its bucket may order by default), nor in classes whose ETags are
/// of another form.
bool etag_is_md5(const S3Options& options, const http::Response& response) {
    if (!options.kms_key_id.empty() || !options.customer_key.empty()) return false;
    const std::string encryption = response.header("x-amz-server-side-encryption");
    return encryption.empty() || encryption == "AES256";
}

std::string bare_etag(const std::string& etag) {
    const std::string_view text = trim(etag);
    const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
    return std::string(quoted ? text.substr(1, text.size() - 2) : text);
}

Error other_content() {
    return Error(ErrorKind::checksum, "the store answered with the checksum of other data")
        .as_transient();
}

/// The answer to the PUT of `md5`'s content. Some gateways put an error into the body of a 200.
Result<> check_stored(const S3Options& options, const http::Response& response, const Md5& md5) {
    if (const auto error = parse_error(response.body))
        return Error(ErrorKind::service, "status 200 " + error->code + ": " + error->message)
            .as_transient();
    const std::string etag = bare_etag(response.header("etag"));
    if (etag.size() == 32 && from_hex(etag) && etag_is_md5(options, response) &&
        etag != to_hex(md5))
        return other_content();
    return {};
}

class Upload final : public io::Sink {
public:
    Upload(std::shared_ptr<Client> client, std::string key, WriteMode mode)
        : client_(std::move(client)), key_(std::move(key)), mode_(mode) {}

    ~Upload() override {
        stop_senders();
        if (!upload_id_.empty() && !finished_) abort();
    }

    Result<> write(io::Bytes in) override {
        while (!in.empty()) {
            const std::uint64_t wanted = part_size(chunk_size(), next_part_);
            const std::size_t room = static_cast<std::size_t>(wanted) - buffer_.size();
            const std::size_t count = std::min(room, in.size());
            buffer_.append(io::text(in.first(count)));
            in = in.subspan(count);
            size_ += count;
            if (buffer_.size() == wanted) CHRONOS_TRY(send_part());
        }
        return {};
    }

    Result<> finish() override {
        if (mode_ == WriteMode::exclusive) {
            CHRONOS_TRY(put_alone());
        } else if (upload_id_.empty()) {
            CHRONOS_TRY(put_whole());
        } else {
            if (!buffer_.empty()) CHRONOS_TRY(send_part());
            CHRONOS_TRY(wait_for_parts());
            CHRONOS_TRY(complete());
        }
        finished_ = true;
        return {};
    }

private:
    struct Part {
        std::uint64_t number = 0;
        std::string content;
    };
    struct StoredPart {
        std::string etag;
        Md5 md5;
    };

    std::uint64_t chunk_size() const { return client_->options().upload_chunk_size_bytes; }
    Result<> put_whole(bool only_if_missing = false);
    Result<> put_alone();
    Result<> send_part();
    Result<> wait_for_parts();
    Result<> complete();
    void abort() noexcept;
    Result<> check_completed(const http::Response& response) const;
    Result<std::optional<http::Response>> look() const;
    Result<bool> is_there_whole() const;
    std::string whole_etag() const;
    Result<StoredPart> upload_one(const Part& part) const;
    Result<StoredPart> upload_guarded(const Part& part) const noexcept;
    void run_sender(io::CpuTokens* tokens);
    void stop_senders();

    std::shared_ptr<Client> client_;
    const std::string key_;
    const WriteMode mode_;
    std::string buffer_;
    std::uint64_t next_part_ = 1;
    std::uint64_t size_ = 0;
    std::string upload_id_;
    bool finished_ = false;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Part> queue_;  // bounded: a part waits only while a sender is busy
    std::map<std::uint64_t, StoredPart> stored_;  // by number
    std::optional<Error> failure_;
    std::size_t busy_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> senders_;
};

Result<> Upload::put_whole(bool only_if_missing) {
    Call call;
    call.operation = "put object";
    call.method = "PUT";
    call.key = key_;
    call.headers = client_->creation_headers();
    call.only_if_missing = only_if_missing;
    if (only_if_missing) call.headers.emplace_back("if-none-match", "*");
    call.body = io::bytes(buffer_);
    const Md5 md5 = crypto::md5(call.body);
    call.headers.emplace_back("content-md5", crypto::base64(md5));
    CHRONOS_TRY(client_->perform(call, [&](const http::Response& response) {
        return check_stored(client_->options(), response, md5);
    }));
    return {};
}

/// Looked at first, for a store that does not know the condition and ignores it. One that says so
/// gets the object without.
Result<> Upload::put_alone() {
    if (!upload_id_.empty())
        return Error(ErrorKind::internal, "'" + key_ + "' is too large to be written alone");
    if (CHRONOS_TRY(look()))
        return Error(ErrorKind::file_exists, "'" + client_->describe(key_) + "' is there already");
    Result<> put = put_whole(/*only_if_missing=*/true);
    return !put && put.error().kind() == ErrorKind::command_invalid ? put_whole() : put;
}

/// nullopt if there is no such object.
Result<std::optional<http::Response>> Upload::look() const {
    Call call;
    call.operation = "look at object";
    call.method = "HEAD";
    call.key = key_;
    call.headers = client_->customer_key_headers();
    auto response = client_->perform(call);
    if (!response && response.error().kind() == ErrorKind::not_found)
        return std::optional<http::Response>();
    return std::optional(CHRONOS_TRY(std::move(response)));
}

Result<Upload::StoredPart> Upload::upload_one(const Part& part) const {
    Call call;
    call.operation = "upload part";
    call.method = "PUT";
    call.key = key_;
    call.query = {{"partNumber", std::to_string(part.number)}, {"uploadId", upload_id_}};
    call.headers = client_->customer_key_headers();
    call.body = io::bytes(part.content);
    const Md5 md5 = crypto::md5(call.body);
    call.headers.emplace_back("content-md5", crypto::base64(md5));
    const http::Response response =
        CHRONOS_TRY(client_->perform(call, [&](const http::Response& answer) -> Result<> {
            if (answer.header("etag").empty())
                return Error(ErrorKind::service, "the answer has no ETag").as_transient();
            return check_stored(client_->options(), answer, md5);
        }));
    return StoredPart{response.header("etag"), md5};
}

/// At the top of a thread exceptions end.
Result<Upload::StoredPart> Upload::upload_guarded(const Part& part) const noexcept {
    try {
        return upload_one(part);
    } catch (const std::bad_alloc&) {
        return Error(ErrorKind::memory, "out of memory");
    } catch (const std::exception& exception) {
        return Error(ErrorKind::internal, exception.what());
    }
}

void Upload::run_sender(io::CpuTokens* tokens) {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        const Part part = std::move(queue_.front());
        queue_.pop_front();
        ++busy_;
        lock.unlock();
        auto stored = [&] {
            const io::TokenScope token(tokens);
            return upload_guarded(part);
        }();
        lock.lock();
        --busy_;
        if (stored)
            stored_[part.number] = *std::move(stored);
        else if (!failure_)
            failure_ = std::move(stored).error();
        changed_.notify_all();
    }
}

Result<> Upload::send_part() {
    if (upload_id_.empty()) upload_id_ = CHRONOS_TRY(begin_upload(*client_, key_));
    Part part{next_part_++, std::exchange(buffer_, {})};
    buffer_.reserve(part.content.size());
    io::CpuTokens* const tokens = io::CpuTokens::of_thread();
    const std::size_t parallel = std::max(1u, client_->options().upload_parallel);
    const io::WaitScope waiting;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return failure_ || queue_.size() + busy_ < parallel; });
    if (failure_) return *failure_;
    assert(queue_.size() + busy_ < parallel);
    queue_.push_back(std::move(part));
    if (senders_.size() < parallel && queue_.size() + busy_ > senders_.size())
        senders_.emplace_back([this, tokens] { run_sender(tokens); });
    changed_.notify_all();
    return {};
}

Result<> Upload::wait_for_parts() {
    const io::WaitScope waiting;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return failure_ || (queue_.empty() && busy_ == 0); });
    if (failure_) return *failure_;
    return {};
}

/// The ETag of an object made of parts: the MD5 of their MD5s, and how many there are.
std::string Upload::whole_etag() const {
    std::string all;
    for (const auto& [number, part] : stored_) all += io::text(part.md5);
    return to_hex(crypto::md5(io::bytes(all))) + "-" + std::to_string(stored_.size());
}

Result<> Upload::check_completed(const http::Response& response) const {
    // S3 sends the 200 before it joins the parts, and may still put <Error> in the body: the status
    // alone does not prove that the object exists.
    if (const auto error = parse_error(response.body))
        return Error(ErrorKind::service, "status 200 " + error->code + ": " + error->message)
            .as_transient();
    const auto etag = find_text(response.body, "ETag");
    if (!etag)
        return Error(ErrorKind::service, "the answer does not say that the object exists")
            .as_transient();
    const std::string bare = bare_etag(*etag);
    const bool comparable = bare.size() > 33 && bare[32] == '-' && from_hex(bare.substr(0, 32));
    if (comparable && etag_is_md5(client_->options(), response) && bare != whole_etag())
        return Error(ErrorKind::checksum, "the store answered with the checksum of other data");
    return {};
}

/// Whether the object is what this upload would have made it.
Result<bool> Upload::is_there_whole() const {
    const auto response = CHRONOS_TRY(look());
    if (!response) return false;
    const std::string etag = bare_etag(response->header("etag"));
    return parse_uint(response->header("content-length")) == size_ &&
           (etag == whole_etag() || !etag_is_md5(client_->options(), *response));
}

Result<> Upload::complete() {
    std::string body = "<CompleteMultipartUpload>";
    for (const auto& [number, part] : stored_)
        body += "<Part><PartNumber>" + std::to_string(number) + "</PartNumber><ETag>" +
                escape_xml(part.etag) + "</ETag></Part>";
    body += "</CompleteMultipartUpload>";
    Call call;
    call.operation = "complete upload";
    call.method = "POST";
    call.key = key_;
    call.query = {{"uploadId", upload_id_}};
    // Amazon asks for the key here in some buckets, Ceph 20 in all.
    call.headers = client_->customer_key_headers();
    call.headers.push_back({"content-md5", crypto::base64(crypto::md5(io::bytes(body)))});
    call.body = io::bytes(body);
    auto completed = client_->perform(
        call, [&](const http::Response& response) { return check_completed(response); });
    if (completed) return {};
    // When the answer to a first try got lost, the second finds the upload gone: it is an object.
    if (completed.error().kind() == ErrorKind::not_found && CHRONOS_TRY(is_there_whole()))
        return {};
    return std::move(completed).error();
}

void Upload::abort() noexcept {
    try {
        Call call;
        call.operation = "abort upload";
        call.method = "DELETE";
        call.key = key_;
        call.query = {{"uploadId", upload_id_}};
        call.once = true;
        if (auto result = client_->perform(call); !result)
            log_detail("upload not aborted, maintenance will: " + result.error().message());
    } catch (const std::exception&) {
        // What is left costs money, not data; maintenance finds it.
    }
}

void Upload::stop_senders() {
    const io::WaitScope waiting;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        queue_.clear();
    }
    changed_.notify_all();
    for (std::thread& sender : senders_) sender.join();
}

}  // namespace

Result<std::string> begin_upload(Client& client, const std::string& key) {
    Call call;
    call.operation = "start upload";
    call.method = "POST";
    call.key = key;
    call.query = {{"uploads", ""}};
    call.headers = client.creation_headers();
    std::string id;
    CHRONOS_TRY(client.perform(call, [&](const http::Response& response) -> Result<> {
        id = find_text(response.body, "UploadId").value_or("");
        if (!id.empty()) return {};
        return Error(ErrorKind::service, "the answer has no UploadId").as_transient();
    }));
    return id;
}

std::uint64_t part_size(std::uint64_t chunk_size, std::uint64_t number) {
    if (number < 2 + 205) return chunk_size;
    const std::uint64_t i = number - 2;
    if (i > 9557) return kGiB;
    const std::uint64_t grown = (kGiB - 8 * kMiB) * (i - 204) / 9352;
    if (grown <= chunk_size) return chunk_size;
    return (grown + 8 * kMiB - 1) / (8 * kMiB) * (8 * kMiB);
}

std::unique_ptr<io::Sink> make_upload(std::shared_ptr<Client> client, std::string key,
                                      WriteMode mode) {
    return std::make_unique<Upload>(std::move(client), std::move(key), mode);
}

}  // namespace chronos::storage::s3
