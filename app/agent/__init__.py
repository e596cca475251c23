"""The process beside the containers: it observes, samples and reports. `python -m app.agent`.

Theory of operation. A *source* (`containers`: a Docker engine, or `processes`: this machine) says
what is there and what it uses. The *roster* holds the newest observation and the ids that the API
gave to its containers. The *outbox* keeps samples until the API has acknowledged them. One
*delivery* sends both, and it alone decides when to wait, to repeat or to give up. The *agent* owns
the tasks of all of them.

Rules:

- What is sent may be sent again: an observation is a full list, a sample is named by (container,
  at).
- Every sample that was taken is acknowledged, waiting, or counted as dropped. None vanishes.
- Nothing grows without a bound, and nothing waits without a timeout.
- One line of log for each change of state, none for each sample.
- Formulas and decisions are functions without I/O; only sources, client, delivery and agent await.
"""
