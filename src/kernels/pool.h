// A small pool of threads that lives as long as the process, sleeps when idle and starts anew in a forked child; or,
// where PyTorch has brought it, GNU OpenMP's threads.
#pragma once

namespace bitprop {

// Calls body(context, task) once for each task 0 .. tasks - 1, on this thread and at most threads - 1 others, and
// returns when all are done. Tasks are handed out in order, one at a time. Serial when threads or tasks is 1, inside
// another call, and while another thread of the process uses the pool. The body must not throw.
void parallel_for(int threads, long tasks, void (*body)(void*, long), void* context);

template <class Body>
void parallel_for(int threads, long tasks, Body& body) {
    parallel_for(threads, tasks, [](void* context, long task) { (*static_cast<Body*>(context))(task); }, &body);
}

}  // namespace bitprop
