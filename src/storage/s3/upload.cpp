#include "storage/s3/upload.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/crypto/signing.h"
#include "storage/s3/xml.h"

namespace chronos::storage::s3 {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

/// Size of part `number` (from 1): the chunk size for the first 205, then growing so that the
/// 10000 parts S3 allows suffice for any object. Source: block-and-crypto reference, section 6.4.
std::uint64_t part_size(std::uint64_t chunk_size, std::uint64_t number) {
    if (number < 2 + 205) return chunk_size;
    const std::uint64_t i = number - 2;
    if (i > 9557) return kGiB;
    const std::uint64_t grown = (kGiB - 8 * kMiB) * (i - 204) / 9352;
    return std::max(chunk_size, (grown + 8 * kMiB - 1) / (8 * kMiB) * (8 * kMiB));
}

/// The MD5 that S3 answers as the ETag of what it stored, unless a key of its own encrypts it.
bool etag_contradicts(const Client& client, const std::string& etag, io::Bytes body) {
    const S3Options& options = client.options();
    if (!options.kms_key_id.empty() || !options.customer_key.empty() || etag.empty()) return false;
    const std::string hex(trim(etag));
    const std::string bare = hex.size() == 34 && hex.front() == '"' ? hex.substr(1, 32) : hex;
    if (bare.size() != 32 || !from_hex(bare)) return false;
    return bare != to_hex(crypto::md5(body));
}

class Upload final : public io::Sink {
public:
    Upload(std::shared_ptr<Client> client, std::string key)
        : client_(std::move(client)), key_(std::move(key)) {}

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
            if (buffer_.size() == wanted) CHRONOS_TRY(send_part());
        }
        return {};
    }

    Result<> finish() override {
        if (upload_id_.empty()) {
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

    std::uint64_t chunk_size() const { return client_->options().upload_chunk_size_bytes; }
    Result<> put_whole();
    Result<> begin();
    Result<> send_part();
    Result<> wait_for_parts();
    Result<> complete();
    void abort();
    Result<std::string> upload_one(const Part& part);
    void run_sender();
    void stop_senders();

    std::shared_ptr<Client> client_;
    const std::string key_;
    std::string buffer_;
    std::uint64_t next_part_ = 1;
    std::string upload_id_;
    bool finished_ = false;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Part> queue_;  // bounded: a part waits only while a sender is busy
    std::map<std::uint64_t, std::string> etags_;
    std::optional<Error> failure_;
    std::size_t busy_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> senders_;
};

Result<> Upload::put_whole() {
    Call call;
    call.operation = "put object";
    call.method = "PUT";
    call.key = key_;
    call.headers = client_->creation_headers();
    call.body = io::bytes(buffer_);
    const http::Response response = CHRONOS_TRY(client_->perform(call));
    if (etag_contradicts(*client_, response.header("etag"), call.body))
        return Error(ErrorKind::checksum,
                     "put object " + client_->describe(key_) +
                         ": the store answered with the checksum of other data");
    return {};
}

Result<> Upload::begin() {
    Call call;
    call.operation = "start upload";
    call.method = "POST";
    call.key = key_;
    call.query = {{"uploads", ""}};
    call.headers = client_->creation_headers();
    const http::Response response = CHRONOS_TRY(client_->perform(call));
    upload_id_ = find_text(response.body, "UploadId").value_or("");
    if (upload_id_.empty())
        return Error(ErrorKind::service,
                     "start upload " + client_->describe(key_) + ": the answer has no UploadId");
    return {};
}

Result<std::string> Upload::upload_one(const Part& part) {
    Call call;
    call.operation = "upload part";
    call.method = "PUT";
    call.key = key_;
    call.query = {{"partNumber", std::to_string(part.number)}, {"uploadId", upload_id_}};
    call.headers = client_->customer_key_headers();
    call.body = io::bytes(part.content);
    const http::Response response = CHRONOS_TRY(client_->perform(call));
    const std::string etag = response.header("etag");
    if (etag.empty() || etag_contradicts(*client_, etag, call.body))
        return Error(ErrorKind::checksum,
                     "upload part " + std::to_string(part.number) + " of " +
                         client_->describe(key_) +
                         ": the store answered with the checksum of other data");
    return etag;
}

void Upload::run_sender() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        const Part part = std::move(queue_.front());
        queue_.pop_front();
        ++busy_;
        lock.unlock();
        auto etag = upload_one(part);
        lock.lock();
        --busy_;
        if (etag)
            etags_[part.number] = *std::move(etag);
        else if (!failure_)
            failure_ = std::move(etag).error();
        changed_.notify_all();
    }
}

Result<> Upload::send_part() {
    if (upload_id_.empty()) CHRONOS_TRY(begin());
    Part part{next_part_++, std::exchange(buffer_, {})};
    buffer_.reserve(part.content.size());
    std::unique_lock lock(mutex_);
    const std::size_t parallel = std::max(1u, client_->options().upload_parallel);
    changed_.wait(lock, [&] { return failure_ || queue_.size() + busy_ < parallel; });
    if (failure_) return *failure_;
    queue_.push_back(std::move(part));
    if (senders_.size() < parallel && queue_.size() + busy_ > senders_.size())
        senders_.emplace_back([this] { run_sender(); });
    changed_.notify_all();
    return {};
}

Result<> Upload::wait_for_parts() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return failure_ || (queue_.empty() && busy_ == 0); });
    if (failure_) return *failure_;
    return {};
}

Result<> Upload::complete() {
    std::string body = "<CompleteMultipartUpload>";
    for (const auto& [number, etag] : etags_)
        body += "<Part><PartNumber>" + std::to_string(number) + "</PartNumber><ETag>" +
                escape_xml(etag) + "</ETag></Part>";
    body += "</CompleteMultipartUpload>";
    Call call;
    call.operation = "complete upload";
    call.method = "POST";
    call.key = key_;
    call.query = {{"uploadId", upload_id_}};
    call.body = io::bytes(body);
    const http::Response response = CHRONOS_TRY(client_->perform(call));
    // S3 sends the 200 before it joins the parts, and may still put <Error> in the body: the status
    // alone does not prove that the object exists.
    if (const auto error = parse_error(response.body))
        return Error(ErrorKind::service, "complete upload " + client_->describe(key_) + ": " +
                                             error->code + ": " + error->message)
            .as_transient();
    if (!find_text(response.body, "ETag") &&
        !find_text(response.body, "CompleteMultipartUploadResult"))
        return Error(ErrorKind::service, "complete upload " + client_->describe(key_) +
                                             ": the answer does not say that the object exists");
    return {};
}

void Upload::abort() {
    Call call;
    call.operation = "abort upload";
    call.method = "DELETE";
    call.key = key_;
    call.query = {{"uploadId", upload_id_}};
    if (auto result = client_->perform(call); !result)
        log_detail("upload not aborted, maintenance will: " + result.error().message());
}

void Upload::stop_senders() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        queue_.clear();
    }
    changed_.notify_all();
    for (std::thread& sender : senders_) sender.join();
}

}  // namespace

std::unique_ptr<io::Sink> make_upload(std::shared_ptr<Client> client, std::string key) {
    return std::make_unique<Upload>(std::move(client), std::move(key));
}

}  // namespace chronos::storage::s3
