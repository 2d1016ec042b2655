#include "pool.h"

#if defined(__linux__)
#include <dlfcn.h>
#endif
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bitprop {
namespace {

void pause_briefly() {
#if defined(__x86_64__)
    _mm_pause();
#endif
}

// A worker looks for work this long before it sleeps: waking a thread costs tens of microseconds, and layers follow
// each other closely. Short, so that torch's own threads get the cores.
constexpr auto kLookFor = std::chrono::microseconds(30);
constexpr int kMaxWorkers = 255;

thread_local bool inside = false;

class Pool {
  public:
    void run(int threads, long tasks, void (*body)(void*, long), void* context) {
        const int wanted = static_cast<int>(tasks < threads ? tasks : threads) - 1;
        hire(wanted < kMaxWorkers ? wanted : kMaxWorkers);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            body_ = body;
            context_ = context;
            tasks_ = tasks;
            seats_ = wanted < workers_ ? wanted : workers_;
            next_.store(0, std::memory_order_relaxed);
            round_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        inside = true;
        work();
        inside = false;
        // no worker may enter late, and those inside must leave: then the body's data may go
        std::unique_lock<std::mutex> lock(mutex_);
        seats_ = 0;
        while (busy_ > 0) {
            lock.unlock();
            const auto until = std::chrono::steady_clock::now() + kLookFor;
            while (busy_hint_.load(std::memory_order_acquire) > 0 && std::chrono::steady_clock::now() < until) {
                pause_briefly();
            }
            lock.lock();
            if (busy_ > 0) left_.wait_for(lock, std::chrono::milliseconds(1));
        }
    }

    std::mutex& owner() { return owner_; }

  private:
    void hire(int wanted) {
        while (workers_ < wanted) {
            try {
                std::thread([this, seen = round_.load()] { serve(seen); }).detach();
            } catch (const std::system_error&) {
                return;  // no more threads to be had: fewer do the work
            }
            ++workers_;
        }
    }

    void work() {
        for (long task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) body_(context_, task);
    }

    void serve(unsigned long seen) {
        inside = true;
        for (;;) {
            const auto until = std::chrono::steady_clock::now() + kLookFor;
            while (round_.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < until) {
                pause_briefly();
            }
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [&] { return round_.load(std::memory_order_relaxed) != seen; });
            seen = round_.load(std::memory_order_relaxed);
            if (seats_ == 0) continue;
            --seats_;
            ++busy_;
            busy_hint_.store(busy_, std::memory_order_relaxed);
            lock.unlock();
            work();
            lock.lock();
            --busy_;
            busy_hint_.store(busy_, std::memory_order_release);
            if (busy_ == 0) left_.notify_one();
        }
    }

    std::mutex owner_, mutex_;
    std::condition_variable wake_, left_;
    std::atomic<unsigned long> round_{0};
    std::atomic<long> next_{0};
    std::atomic<int> busy_hint_{0};
    void (*body_)(void*, long) = nullptr;
    void* context_ = nullptr;
    long tasks_ = 0;
    int workers_ = 0, seats_ = 0, busy_ = 0;
};

// --- threads of others
// ------------------------------------------------------------------------------------------------

// A process that has loaded GNU OpenMP (PyTorch has) has threads that wait for their next work without sleeping, for
// milliseconds: threads of ours would share cores with them. So its threads do our work, where it is loaded.
using Together = void (*)(void (*)(void*), void*, unsigned, unsigned);

std::atomic<bool> forked{false};

Together openmp() {
#if defined(__linux__)
    static std::atomic<Together> found{nullptr};
    if (forked.load(std::memory_order_relaxed)) return nullptr;  // its threads did not survive, and it does not know
    Together call = found.load(std::memory_order_acquire);
    if (call == nullptr) {
        void* library = dlopen("libgomp.so.1", RTLD_LAZY | RTLD_NOLOAD);
        if (library != nullptr) {
            call = reinterpret_cast<Together>(dlsym(library, "GOMP_parallel"));
            found.store(call, std::memory_order_release);
        }
    }
    return call;
#else
    return nullptr;
#endif
}

struct Shared {
    void (*body)(void*, long);
    void* context;
    long tasks;
    std::atomic<long> next;
};

void take_part(void* given) {
    Shared& shared = *static_cast<Shared*>(given);
    inside = true;
    for (long task; (task = shared.next.fetch_add(1, std::memory_order_relaxed)) < shared.tasks;) {
        shared.body(shared.context, task);
    }
    inside = false;
}

// Never destroyed: its threads may be asleep in it when the process ends.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
    static const bool once = [] {
        pool.store(new Pool);
        // threads do not survive a fork, and a lock may have been held: the child begins with a new pool
        pthread_atfork(nullptr, nullptr, [] {
            inside = false;
            forked.store(true);
            pool.store(new Pool);
        });
        return true;
    }();
    (void)once;
    return *pool.load();
}

}  // namespace

void parallel_for(int threads, long tasks, void (*body)(void*, long), void* context) {
    if (threads > 1 && tasks > 1 && !inside) {
        Pool& here = the_pool();
        std::unique_lock<std::mutex> owner(here.owner(), std::try_to_lock);
        if (owner.owns_lock()) {
            if (const Together together = openmp()) {
                Shared shared{body, context, tasks, {0}};
                // always as many as PyTorch uses: a team of another size is made anew
                together(take_part, &shared, static_cast<unsigned>(threads), 0);
            } else {
                here.run(threads, tasks, body, context);
            }
            return;
        }
    }
    for (long task = 0; task < tasks; ++task) body(context, task);
}

}  // namespace bitprop
